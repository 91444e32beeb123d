"""How much is measured."""

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.window import Watch

Result = dict[str, Any]
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
        backlogs: images that wait for a bridge when it starts.
        more_repeats: beyond the others, where a twentieth is judged, or an absolute figure, and the
            machine wavers.
        budget_s: for everything; None: as long as it takes.
        baseline: the commit whose bridge ours is compared with; empty: none.
        essential: only what is promised of a GPU, not what is compared with others.
    """

    repeats: int
    watch: Watch
    images: int
    rates: tuple[float, ...]
    latency_s: float
    backlogs: tuple[int, ...] = (10_000, 1_000_000, 10_000_000)
    more_repeats: int = 2
    budget_s: float | None = None
    essential: bool = False
    baseline: str = ""


FULL = Plan(3, Watch(2.0, 6.0), 60_000, (LOW, 0.25, 0.5, 0.75, 0.9, 1.05), 10.0)
QUICK = Plan(2, Watch(1.5, 3.0), 30_000, (LOW, 0.25, 0.75), 5.0, (10_000, 1_000_000))

# A GPU drains a backlog in seconds: four bridges answered 82,000 images/s of one H200.
CUDA_IMAGES = 1_600_000
FULL_CUDA = replace(FULL, images=CUDA_IMAGES)
QUICK_CUDA = replace(
    QUICK, images=CUDA_IMAGES, rates=(LOW, 0.5, 0.75), latency_s=4.0, more_repeats=0,
    budget_s=450.0, essential=True,
)  # fmt: skip
"""Ends within eight minutes, its servers' last one included: GPUs are lent for minutes."""


def plan_for(device: str, *, quick: bool) -> Plan:
    """How much is measured on a device: cpu or cuda."""
    if device == "cuda":
        return QUICK_CUDA if quick else FULL_CUDA
    return QUICK if quick else FULL
