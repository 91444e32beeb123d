"""How much is measured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.window import Watch

Result = dict[str, Any]
Say = Callable[[str], None]
"""Shows a line to the person who watches."""

MORE_REPEATS = 2
"""Beyond a plan's: where a twentieth is judged, or an absolute figure, and the machine wavers."""
LOW = 0.1
"""The share of the throughput at which the latency of lone images is judged."""

SEVERAL_BRIDGES = "4 bridges"
"""Measured in front of a GPU, which may answer more than one bridge sends."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        repeats: of each comparison, alternating.
        watch: of throughput measurements.
        images: backlog for the real model.
        rates: shares of the measured throughput at which latency is taken.
        latency_s: seconds of load at each.
    """

    repeats: int
    watch: Watch
    images: int
    rates: tuple[float, ...]
    latency_s: float


FULL = Plan(3, Watch(2.0, 6.0), 60_000, (LOW, 0.25, 0.5, 0.75, 0.9, 1.05), 10.0)
QUICK = Plan(2, Watch(1.5, 3.0), 30_000, (LOW, 0.25, 0.75), 5.0)
