"""The result of a run as a table for a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.summary import Summary
from wire.deadletter import one_line


def print_summary(console: Console, summary: Summary) -> None:
    """Print counts, latencies and stages, then whether the run is valid."""
    counts = Table(title="Images", title_justify="left", show_header=False)
    counts.add_column()
    counts.add_column(justify="right")
    for name, value in (
        ("sent", summary.sent),
        ("answered", summary.answered),
        ("dead-lettered", summary.dead_lettered),
        ("missing", summary.missing),
        ("duplicates", summary.duplicates),
    ):
        counts.add_row(name, f"{value:,}")
    # Counts that should be 0 are only shown where they are not.
    for name, value in (
        ("expired", summary.expired),
        ("resent", summary.resent),
        ("unmatched", summary.unmatched),
        ("unreadable", summary.unreadable),
        ("beyond --max-images", summary.unmeasured),
    ):
        if value:
            counts.add_row(name, f"{value:,}")
    for reason, count in sorted(summary.dead_letters_by_reason.items()):
        counts.add_row(Text(f"dead letter: {one_line(reason)}"), f"{count:,}")
    if summary.labelled:
        counts.add_row("correct", f"{summary.correct:,} of {summary.labelled:,}")
    if summary.throughput or not summary.answered:
        counts.add_row("images/s", f"{summary.throughput:,.1f}")
    if summary.mean_request is not None:
        counts.add_row("images a request", f"{summary.mean_request:.2f}")
    console.print(counts)
    _latencies(console, summary)
    _stages(console, summary)
    for note in summary.notes:
        console.print(Text(f"Note: {note}."))
    if summary.valid:
        console.print("Valid run.", style="bold green")
    else:
        console.print("INVALID run: its figures do not count.", style="bold red")
        for reason in summary.reasons:
            console.print(Text(f"  {reason}"), style="red")


def _latencies(console: Console, summary: Summary) -> None:
    if summary.intended is None or summary.sent_latency is None:
        return
    due, sent = summary.intended, summary.sent_latency
    if not due.count:  # all of it is clock errors
        return
    table = Table(title="Latency, ms", title_justify="left")
    for name in ("", "from intended", "from send", "images within"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("mean", f"{due.mean_ms:,.2f}", f"{sent.mean_ms:,.2f}", "")
    for entry, other in zip(due.percentiles, sent.percentiles, strict=False):
        name = f"p{entry.percentile:g}"
        table.add_row(name, f"{entry.ms:,.2f}", f"{other.ms:,.2f}", f"{entry.count:,}")
    table.add_row("max", f"{due.max_ms:,.2f}", f"{sent.max_ms:,.2f}", f"{due.count:,}")
    console.print(table)


def _stages(console: Console, summary: Summary) -> None:
    if not summary.stages:
        return
    table = Table(title="Stages, ms", title_justify="left")
    table.add_column("stage")
    for name in ("mean", "p50", "p99"):
        table.add_column(name, justify="right")
    for stage in summary.stages:
        table.add_row(
            stage.name.replace("_", " "),
            *(
                f"{ms:,.2f}" if stage.known else "-"
                for ms in (stage.mean_ms, stage.p50_ms, stage.p99_ms)
            ),
        )
        if stage.name != "triton":
            continue
        for triton in summary.triton:
            table.add_row("  queue", f"{triton.queue_ms:,.2f}", "", "")
            table.add_row("  compute input", f"{triton.compute_input_ms:,.2f}", "", "")
            table.add_row("  compute infer", f"{triton.compute_infer_ms:,.2f}", "", "")
            table.add_row("  compute output", f"{triton.compute_output_ms:,.2f}", "", "")
            table.add_row(f"  mean batch {triton.mean_batch:.2f}", "", "", "")
    console.print(table)
