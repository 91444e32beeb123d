"""Whether a run's figures may be quoted, and why not. Pure."""

from dataclasses import dataclass

import numpy as np

from consumer.measuring.matching import Int64

WINDOWS = 10
"""Parts of a run whose median latencies are compared."""
MIN_IMAGES = 10 * WINDOWS
"""Images that a run must have for a trend to be looked for."""
MIN_RISE_MS = 100.0
"""A rise in milliseconds that users would notice; a scheduler or a garbage collector causes
less."""
MIN_RISE_SHARE = 0.5
"""Smallest rise that counts, as a share of the lowest window's median: where the latency is seconds
anyway, it may vary by more."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How the latency changed during a run, by the median slope between its windows."""

    rise_ms: float
    base_ms: float

    @property
    def growing(self) -> bool:
        return self.rise_ms > MIN_RISE_MS and self.rise_ms > MIN_RISE_SHARE * self.base_ms


def trend(intended_ns: Int64, latency_us: Int64) -> Trend | None:
    """The trend of latencies (int64 [n]) of images ordered by their intended times (int64 [n]).

    The slope is the median over all pairs of windows (Theil and Sen): a single stall, wherever it
    falls, does not look like a growing backlog. None: there are too few images.
    """
    if len(intended_ns) < MIN_IMAGES:
        return None
    times = [float(np.median(part)) for part in np.array_split(intended_ns / 1e6, WINDOWS)]
    levels = [float(np.median(part)) for part in np.array_split(latency_us / 1e3, WINDOWS)]
    slopes = [
        (levels[later] - levels[earlier]) / (times[later] - times[earlier])
        for earlier in range(WINDOWS)
        for later in range(earlier + 1, WINDOWS)
        if times[later] > times[earlier]
    ]
    span_ms = float(intended_ns[-1] - intended_ns[0]) / 1e6
    return Trend(float(np.median(slopes)) * span_ms if slopes else 0.0, min(levels))


def reasons(
    *,
    sent: int,
    missing: int,
    expected: int | None,
    unmeasured: int,
    unreadable: int,
    clock_errors: int,
    change: Trend | None,
    answered: int,
    measured: int,
    stored: int,
    allow_backlog: bool,
) -> list[str]:
    """Why a run is invalid, one sentence for each reason; empty: it is valid."""
    found = []
    if not sent:
        found.append("no image was seen")
    if missing:
        found.append(f"{missing:,} images were neither answered nor dead-lettered")
    if expected is not None and sent < expected:
        found.append(f"only {sent:,} of the {expected:,} expected images were seen")
    if unmeasured:
        found.append(f"{unmeasured:,} records were about images beyond --max-images")
    if unreadable:
        found.append(f"{unreadable:,} records were not what their topic should hold")
    if sent and not answered:
        found.append("no image was answered: there is no latency")
    elif answered and not measured:
        found.append("every answered image fell into the warm-up: there is no latency")
    if clock_errors:
        found.append(
            f"{clock_errors:,} images arrived before they left: the clocks of the machines differ"
        )
    if 0 < stored < measured:
        found.append(
            f"{stored:,} of {measured:,} answers were on their topic before reading began: their "
            "latency ends when they were stored, that of the others when they were read"
        )
    if change is not None and change.growing and not allow_backlog:
        found.append(
            f"the backlog grew: latency rose by {change.rise_ms:,.0f} ms through the run, from "
            f"{change.base_ms:,.0f} ms; send fewer images/s"
        )
    return found
