"""latency_results.txt: one line for each image, then the summary."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from consumer.measuring.matching import ANSWERED, DEAD, EXPIRED, NO_NAME, SEEN, Rows
from consumer.summary import Latency, Summary
from wire.deadletter import one_line

COLUMNS = ("id", "label", "score", "latency_ms")


def write_results(file: BinaryIO, rows: Rows, summary: Summary) -> None:
    """Write tab-separated lines in the order of the intended times, then `#` and the summary."""
    file.write(("# " + "\t".join(COLUMNS) + "\n").encode())
    file.writelines(f"{line}\n".encode() for line in image_lines(rows))
    file.writelines(f"# {line}".rstrip().encode() + b"\n" for line in summary_lines(summary))


def image_lines(rows: Rows) -> Iterator[str]:
    """A line for each image that was sent; one without an answer has its reason as its label."""
    intended, consumed = rows.times["intended"], rows.times["consumed"]
    # Each name is cleaned only once: it may be in a million rows, and hold a tab or a line break.
    names = [one_line(name) for name in rows.names]
    for row in np.argsort(intended, kind="stable").tolist():
        state = int(rows.state[row])
        if not state & SEEN:
            continue
        image = one_line(rows.ids[row])
        name = "-" if rows.best[row] == NO_NAME else names[rows.best[row]]
        if state & ANSWERED:
            latency = (int(consumed[row]) - int(intended[row])) / 1e6
            yield f"{image}\t{name}\t{rows.score[row]:.6f}\t{latency:.3f}"
        elif state & DEAD:
            yield f"{image}\tDEAD-LETTERED:{name}\t-\t-"
        elif state & EXPIRED:
            yield f"{image}\tEXPIRED\t-\t-"
        else:
            yield f"{image}\tMISSING\t-\t-"


def summary_lines(summary: Summary) -> Iterator[str]:
    """The summary for a person."""
    yield f"run            {summary.run_id or 'all runs on the topics'}"
    yield f"valid          {'yes' if summary.valid else 'NO'}"
    for reason in summary.reasons:
        yield f"               {reason}"
    yield f"sent           {summary.sent}"
    yield f"answered       {summary.answered}"
    yield f"dead-lettered  {summary.dead_lettered}"
    for reason, count in sorted(summary.dead_letters_by_reason.items()):
        yield f"               {count} {one_line(reason)}"
    if summary.expired:
        yield f"expired        {summary.expired}"
    yield f"missing        {summary.missing}"
    yield f"duplicates     {summary.duplicates}"
    yield f"resent         {summary.resent}"
    yield f"unmatched      {summary.unmatched}"
    if summary.labelled:
        share = summary.correct / summary.labelled
        yield f"correct        {summary.correct} of {summary.labelled} ({share:.2%})"
    if summary.throughput or not summary.answered:
        yield f"throughput     {summary.throughput:.1f} images/s"
    yield f"warm-up        {summary.warmup} images left out of what follows"
    if summary.mean_request is not None:
        yield f"request size   {summary.mean_request:.2f} images, mean"
    for note in summary.notes:
        yield f"note           {note}"
    yield from _latency_lines("latency from the intended time of each image", summary.intended)
    yield from _latency_lines("latency from the time each was really sent", summary.sent_latency)
    if summary.stages:
        yield ""
        yield "stage             mean ms     p50 ms     p99 ms"
    for stage in summary.stages:
        if stage.known:
            yield f"{stage.name:14} {stage.mean_ms:10.3f} {stage.p50_ms:10.3f} {stage.p99_ms:10.3f}"
        else:
            yield f"{stage.name:14} {'-':>10} {'-':>10} {'-':>10}"
    for triton in summary.triton:
        yield ""
        yield f"inside Triton: {one_line(triton.model)} version {one_line(triton.version)}"
        yield f"  executions      {triton.executions}, mean batch {triton.mean_batch:.2f}"
        yield f"  queue           {triton.queue_ms:.3f} ms a request"
        yield f"  compute input   {triton.compute_input_ms:.3f} ms"
        yield f"  compute infer   {triton.compute_infer_ms:.3f} ms"
        yield f"  compute output  {triton.compute_output_ms:.3f} ms"


def _latency_lines(title: str, latency: Latency | None) -> Iterator[str]:
    if latency is None:
        return
    yield ""
    yield f"{title}: {latency.count} images, {latency.clock_errors} clock errors"
    if not latency.count:
        return
    yield f"  mean   {latency.mean_ms:12.3f} ms"
    for entry in latency.percentiles:
        yield f"  p{entry.percentile:<5g} {entry.ms:12.3f} ms  {entry.count:>10} images within"
    yield f"  max    {latency.max_ms:12.3f} ms"
