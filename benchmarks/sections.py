"""The sections of the benchmark. Each has its own servers and gives a result for JSON."""

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks import subjects
from benchmarks.apart import apart
from benchmarks.baseline import baseline
from benchmarks.floats import floats
from benchmarks.formats import formats
from benchmarks.freshness import freshness
from benchmarks.growth import growth
from benchmarks.latency import latency
from benchmarks.lone import lone
from benchmarks.memory import memory
from benchmarks.null_model import bridges, overhead, warm_broker
from benchmarks.photos import photos
from benchmarks.plan import SEVERAL_BRIDGES, Plan, Result
from benchmarks.progress import Progress
from benchmarks.references import references
from benchmarks.repeats import repeat
from benchmarks.rig import ENSEMBLE, MODEL, Rig
from benchmarks.rivals.section import prepare, rivals
from benchmarks.subjects import AT_LEAST_ONCE, EXACTLY_ONCE
from benchmarks.tritons import tritons
from benchmarks.window import Watch, Window, drain, load
from producer.encoding import Encoding

ESSENTIAL = ("bridge", "ceiling", "ceiling with broker load")
"""Measurements that the goals for a GPU need, besides that of several bridges."""


def throughput(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Images/s through the real model: the ceiling, and the bridge."""
    warm_broker(rig)
    backlog = rig.backlog(plan.images, Encoding.RAW)
    png = backlog if plan.essential else rig.backlog(plan.images, Encoding.PNG)
    batch, in_flight = _load(rig) if plan.essential else _best_load(rig, plan, progress)

    def ours(
        source: str = backlog,
        settings: Mapping[str, str] = AT_LEAST_ONCE,
        model: str = MODEL,
        count: int = 1,
    ) -> Window:
        target = rig.topic("out")
        subject = subjects.bridges(rig, source, target, count, model, settings)
        return drain(rig, subject, source, target, plan.watch, model=MODEL)

    # Not among the measurements that are judged: the broker has not served a real model yet.
    our_rate = ours().rate

    def ceiling_beside() -> Window:
        return load(
            rig,
            [*subjects.triton_load(rig, batch, in_flight),
             subjects.relay(rig, backlog, rig.topic("out"), our_rate)],
            plan.watch, model=MODEL,
        )  # fmt: skip

    todo: dict[str, Callable[[], Window]] = {
        "bridge": ours,
        "ceiling": lambda: load(
            rig, subjects.triton_load(rig, batch, in_flight), plan.watch, model=MODEL
        ),
        "ceiling with broker load": ceiling_beside,
        "bridge, exactly once": lambda: ours(settings=EXACTLY_ONCE),
        "bridge, PNG": lambda: ours(png),
        "bridge, PNG decoded in Triton": lambda: ours(png, model=ENSEMBLE),
    }
    if plan.essential:
        todo = {name: run for name, run in todo.items() if name in ESSENTIAL}
    if rig.device == "cuda":
        todo |= {name: partial(ours, count=count) for name, count in SEVERAL_BRIDGES.items()}
    settings = {
        "ceiling_batch": batch, "ceiling_in_flight": in_flight, "load processes": subjects.LOADS,
        "max_batch": rig.max_batch, "instances": rig.instances, "encoding": "raw uint8 32x32x3",
    }  # fmt: skip
    return repeat(todo, plan.repeats + plan.more_repeats, progress, settings)


def batches(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Images/s of Triton by the size of the requests, enough of them in flight."""
    sizes = [size for size in (1, 2, 4, 8, 16, 32, 64, 128, 256) if size <= rig.max_batch]
    images = 2 * rig.max_batch * rig.instances

    def of(size: int) -> Callable[[], Window]:
        return lambda: load(
            rig, subjects.triton_load(rig, size, images // size), plan.watch, model=MODEL
        )

    return repeat({str(size): of(size) for size in sizes}, plan.repeats, progress)


def _load(rig: Rig) -> tuple[int, int]:
    """The largest batch, and enough requests in flight: a GPU's best."""
    return rig.max_batch, subjects.in_flight(rig.instances)


def _best_load(rig: Rig, plan: Plan, progress: Progress) -> tuple[int, int]:
    """Batch and requests in flight with the highest rate, 2 x max batch x instances at least."""
    wanted = 2 * rig.max_batch * rig.instances
    rates: dict[tuple[int, int], float] = {}
    short = Watch(1.0, plan.watch.window_s / 2)
    for batch in (rig.max_batch // 4, rig.max_batch // 2, rig.max_batch):
        pair = (batch, wanted // batch)
        rates[pair] = load(rig, subjects.triton_load(rig, *pair), short, model=MODEL).rate
        told = f"{rates[pair]:,.0f} images/s"
        progress.say(f"ceiling with batch {pair[0]}, {pair[1]} in flight: {told}")
    return max(rates, key=lambda pair: rates[pair])


SECTIONS: Mapping[str, Callable[[Rig, Plan, Progress], Result]] = {
    "throughput": throughput,
    "overhead": overhead,
    "floats": floats,
    "baseline": baseline,
    "bridges": bridges,
    "tritons": tritons,
    "latency": latency,
    "apart": apart,
    "lone": lone,
    "freshness": freshness,
    "batches": batches,
    "formats": formats,
    "photos": photos,
    "references": references,
    "growth": growth,
    "memory": memory,
    "rivals": rivals,
}
PREPARE: Mapping[str, Callable[[Rig], None]] = {"rivals": prepare}
