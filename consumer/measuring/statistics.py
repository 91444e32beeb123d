"""Latencies and stages of matched images. Pure."""

from dataclasses import dataclass

import numpy as np
from hdrh.histogram import HdrHistogram

from consumer.measuring.matching import ANSWERED, NO_NAME, SEEN, UNCLASSED, Int64, Rows
from consumer.summary import Latency, Percentile, Stage
from wire.clock import LATEST_NS

PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)

LONGEST_US = LATEST_NS // 1000
"""The largest difference of two times that are believed, in microseconds: a backlog may be days
old."""
DIGITS = 3
"""Significant digits of the histogram: its percentiles are within 0.1 % of the exact ones."""

STAGES = (
    ("producer_delay", "intended", "sent"),
    ("kafka_in", "sent", "received"),
    ("decode", "received", "decoded"),
    ("slot_wait", "decoded", "requested"),
    ("triton", "requested", "inferred"),
    ("kafka_out", "inferred", "consumed"),
)
"""Name, first and last stamp of each stage; together the stages are the latency."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Answered images after the warm-up, ordered by intended time.

    Attributes:
        rows: int64 [n], indices of their rows.
        intended: int64 [n], intended times; epoch nanoseconds.
        from_intended: int64 [n], microseconds from the intended time until it was answered.
        from_sent: int64 [n], microseconds from sent until it was answered.
    """

    rows: Int64
    intended: Int64
    from_intended: Int64
    from_sent: Int64


def measured(rows: Rows, warmup: int) -> Measured:
    """Leave out the first `warmup` images by intended time, whatever their outcome."""
    seen = np.flatnonzero(rows.state & SEEN)
    intended = rows.times["intended"]
    due = seen[np.argsort(intended[seen], kind="stable")][warmup:]
    chosen = due[rows.state[due] & ANSWERED != 0]
    return Measured(
        rows=chosen,
        intended=intended[chosen],
        from_intended=_microseconds(rows, "intended", "consumed", chosen),
        from_sent=_microseconds(rows, "sent", "consumed", chosen),
    )


def latency(microseconds: Int64) -> Latency | None:
    """The distribution of latencies, int64 [n] microseconds; None where there are none."""
    if not len(microseconds):
        return None
    good = microseconds[microseconds >= 0]
    errors = len(microseconds) - len(good)
    histogram = HdrHistogram(1, LONGEST_US, DIGITS)
    values, counts = np.unique(good, return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)
    encoded = histogram.encode().decode()
    if not len(good):
        return Latency(0, errors, 0.0, 0.0, 0.0, [], encoded)
    ordered = np.sort(good)
    # The histogram gives the upper end of a bucket, which may lie above every latency.
    found = histogram.get_percentile_to_value_dict(list(PERCENTILES))
    at = {p: min(value, int(ordered[-1])) for p, value in found.items()}
    percentiles = [
        Percentile(p, at[p] / 1000, int(np.searchsorted(ordered, at[p], "right")))
        for p in PERCENTILES
    ]
    return Latency(
        count=len(good),
        clock_errors=errors,
        mean_ms=float(good.mean()) / 1000,
        min_ms=float(ordered[0]) / 1000,
        max_ms=float(ordered[-1]) / 1000,
        percentiles=percentiles,
        histogram=encoded,
    )


def stages(rows: Rows, chosen: Int64) -> list[Stage]:
    """The time that the images of the `chosen` rows spent in each stage."""
    found = []
    for name, start, end in STAGES:
        spent = _microseconds(rows, start, end, chosen)
        good = spent[spent >= 0]
        errors = len(spent) - len(good)
        if len(good):
            p50, p99 = np.percentile(good, (50, 99))
            mean = float(good.mean())
            found.append(Stage(name, mean / 1000, float(p50) / 1000, float(p99) / 1000, errors))
        elif errors:
            found.append(Stage(name, 0.0, 0.0, 0.0, errors))
    return found


def throughput(rows: Rows, chosen: Measured) -> float:
    """Answered images per second, from the first intended time to the last answer; 0: not known."""
    if not len(chosen.rows):
        return 0.0
    span = int(rows.times["consumed"][chosen.rows].max()) - int(chosen.intended[0])
    return len(chosen.rows) * 1e9 / span if span > 0 else 0.0


def offered_rate(rows: Rows) -> float | None:
    """Images per second by intended time, over the whole run; None: not known."""
    due = rows.times["intended"][rows.state & SEEN != 0]
    span = int(due.max()) - int(due.min()) if len(due) else 0
    return (len(due) - 1) * 1e9 / span if span > 0 else None


def accuracy(rows: Rows) -> tuple[int, int]:
    """(answered images with a known label, those answered right), including the warm-up."""
    outcome = rows.state & (SEEN | ANSWERED | UNCLASSED)
    answered = (outcome == SEEN | ANSWERED) & (rows.label != NO_NAME)
    return int(answered.sum()), int((answered & (rows.best == rows.label)).sum())


def _microseconds(rows: Rows, start: str, end: str, chosen: Int64) -> Int64:
    # Floor division keeps a negative difference negative, however small.
    return (rows.times[end][chosen] - rows.times[start][chosen]) // 1000
