"""The table at the end of the demo."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from consumer.summary import Summary
from exporter.detector.score import Score
from stack.demo.subject import Subject

RIGHT = 915
"""Images of the 1,000 shipped ones that the shipped weights classify correctly in float32. Any
other number is a fault."""
LEAST_MAP = 0.65
"""Lowest mean average precision of the detector that is accepted. It is 0.70 with boxes of a score
of 0.25 or more, but another processor rounds differently, so that a box near that score may be
missing or extra."""
EXAMPLES = "detections.png"

# Where the output is piped, lines are not wrapped.
console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def report(summary: Summary, output: Path, subject: Subject, score: Score | None) -> None:
    """Print the table of results."""
    table = Table(title=subject.title, title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name in ("sent", "answered", "dead_lettered", "missing", "duplicates"):
        table.add_row(name.replace("_", "-"), f"{getattr(summary, name):,}")
    if score is None:
        table.add_row("correct", f"{summary.correct:,} of {summary.labelled:,} (expected {RIGHT})")
    else:
        table.add_row("objects", f"{score.objects:,}")
        found = f"{score.mean_average_precision:.3f} (expected {LEAST_MAP} and more)"
        table.add_row("mean average precision (overlap 0.5)", found)
        table.add_row(f"precision, scores from {score.threshold}", f"{score.precision:.3f}")
        table.add_row(f"recall, scores from {score.threshold}", f"{score.recall:.3f}")
    table.add_row("images/s", f"{summary.throughput:,.0f}")
    if summary.intended is not None:
        table.add_section()
        for percentile, name in ((50, "p50"), (90, "p90"), (99, "p99"), (100, "max")):
            table.add_row(f"latency {name}", f"{summary.intended.at(percentile):.1f} ms")
    if summary.stages:
        table.add_section()
        for stage in summary.stages:
            table.add_row(f"{stage.name}, mean", f"{stage.mean_ms:.2f} ms")
        for model in summary.triton:
            table.add_row("  of which queue", f"{model.queue_ms:.2f} ms")
            table.add_row("  of which compute", f"{model.compute_infer_ms:.2f} ms")
            table.add_row("mean batch in Triton", f"{model.mean_batch:.1f}")
    console.print(table)
    if not summary.valid:
        console.print("The run is not valid:", style="red")
        for reason in summary.reasons:
            console.print(f"  {reason}", markup=False)
    for name in (
        "latency_results.txt",
        "latency_histogram.png",
        "latency_summary.json",
        "latency_report.html",
        *([] if score is None else [EXAMPLES]),
    ):
        console.print(f"{output / name}", markup=False, soft_wrap=True)
