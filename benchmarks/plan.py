"""How much is measured: repeats, lengths and sizes."""

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.window import Watch

Result = dict[str, Any]
LOW = 0.1
"""The share of the throughput at which the latency of single images is judged."""

TRITON, BESIDE, OURS = "Triton", "Triton beside the broker's load", "bridge"
"""The subjects whose latency is measured."""
OURS_EXACTLY_ONCE, HALF = "bridge, exactly once", 0.5
"""The bridge in its other delivery mode, and the share at which its latency is compared."""
SEVERAL_BRIDGES = {"4 bridges": 4, "8 bridges": 8}
"""Measurements in front of a GPU, which may answer more than one bridge can send."""
FEW_BRIDGES = "4 bridges"
"""The one of them that is also measured with photos, and by its latency."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much one run measures.

    Attributes:
        repeats: repeats of each comparison, alternating.
        watch: lengths of throughput measurements.
        images: backlog for the real model.
        rates: shares of the measured throughput at which latency is measured.
        latency_s: seconds of load at each of them.
        memory_s: seconds over which a bridge's memory is watched.
        backlogs: numbers of images that wait for a bridge when it starts.
        more_repeats: additional repeats where a difference of a twentieth or an absolute figure is
            judged and the machine varies.
        budget_s: seconds for everything; None: as long as it takes.
        baseline: the commit whose bridge ours is compared with; empty: none.
        essential: whether only the goals for a GPU are measured, without the comparison with
            others.
    """

    repeats: int
    watch: Watch
    images: int
    rates: tuple[float, ...]
    latency_s: float
    backlogs: tuple[int, ...] = (10_000, 1_000_000, 10_000_000)
    memory_s: float = 7200.0
    more_repeats: int = 2
    budget_s: float | None = None
    essential: bool = False
    baseline: str = ""


FULL = Plan(3, Watch(2.0, 6.0), 60_000, (LOW, 0.25, HALF, 0.75, 0.9, 1.05), 10.0)
QUICK = Plan(
    2, Watch(1.5, 3.0), 30_000, (LOW, HALF, 0.75, 0.9), 5.0, (10_000, 1_000_000), memory_s=600.0
)

# A GPU drains a backlog in seconds: eight bridges answered 128,000 images/s of one H200.
CUDA_IMAGES = 1_600_000
FULL_CUDA = replace(FULL, images=CUDA_IMAGES)
QUICK_CUDA = replace(
    QUICK, images=CUDA_IMAGES, rates=(LOW, HALF, 0.75), latency_s=4.0, more_repeats=0,
    budget_s=450.0, essential=True,
)  # fmt: skip
"""A run that ends within eight minutes, including the stop of its servers: GPUs are scarce."""


def plan_for(device: str, *, quick: bool) -> Plan:
    """The plan for a device, cpu or cuda."""
    if device == "cuda":
        return QUICK_CUDA if quick else FULL_CUDA
    return QUICK if quick else FULL
