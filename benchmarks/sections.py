"""The sections of the benchmark. Each has its own servers and gives one JSON-able result."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from benchmarks import subjects
from benchmarks.latency import latency
from benchmarks.null_model import bridges, overhead, warm_broker
from benchmarks.photos import photos
from benchmarks.plan import MORE_REPEATS, SEVERAL_BRIDGES, Plan, Result, Say
from benchmarks.repeats import repeat
from benchmarks.rig import ENSEMBLE, MODEL, Rig, mlserver_records
from benchmarks.subjects import AT_LEAST_ONCE, EXACTLY_ONCE
from benchmarks.window import Watch, Window, drain, load, wait_until
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.errors import StackError
from stack.service import Service

MLSERVER_RATE = 1500
"""Images/s that MLServer is fed: more than it answers, since it takes no backlog."""


def throughput(rig: Rig, plan: Plan, say: Say) -> Result:
    """Images/s through the real model: the ceiling, ours, and the others."""
    warm_broker(rig)
    backlog = rig.backlog(plan.images * rig.scale, Encoding.RAW)
    png = rig.backlog(plan.images * rig.scale, Encoding.PNG)
    batch, in_flight = _best_load(rig, plan, say)

    def ours(
        source: str = backlog,
        settings: Mapping[str, str] = AT_LEAST_ONCE,
        model: str = MODEL,
        count: int = 1,
    ) -> Window:
        target = rig.topic("out")
        subject = subjects.bridges(rig, source, target, count, model, settings)
        return drain(rig, subject, source, target, plan.watch, model=MODEL)

    def other(start: Callable[[Rig, str, str], list[Service]]) -> Callable[[], Window]:
        def run() -> Window:
            target = rig.topic("out")
            subject = start(rig, backlog, target)
            return drain(rig, subject, backlog, target, plan.watch, model=MODEL)

        return run

    # Not among those that are judged: the broker has not answered a real model yet.
    our_rate = ours().rate

    def ceiling_beside() -> Window:
        return load(
            rig,
            [subjects.triton_load(rig, batch, in_flight),
             subjects.relay(rig, backlog, rig.topic("out"), our_rate)],
            plan.watch, model=MODEL,
        )  # fmt: skip

    def mlserver() -> Window:
        source, target = rig.topic("in"), rig.topic("out")
        seconds = plan.watch.warm_s + plan.watch.window_s
        count = int(seconds * MLSERVER_RATE * rig.scale)
        records = list(mlserver_records(cifar10(Encoding.RAW), count, MODEL))
        subject = subjects.mlserver(rig, source, target)

        def fill() -> None:
            wait_until(lambda: subjects.mlserver_consumes(subject[0]), subject, "its consumer")
            rig.fill(source, records)

        return drain(rig, subject, source, target, plan.watch, model=MODEL, after_start=fill)

    todo: dict[str, Callable[[], Window]] = {
        "bridge": ours,
        "ceiling with broker load": ceiling_beside,
        "ceiling": lambda: load(
            rig, [subjects.triton_load(rig, batch, in_flight)], plan.watch, model=MODEL
        ),
        "bridge, exactly once": lambda: ours(settings=EXACTLY_ONCE),
        "bridge, PNG": lambda: ours(png),
        "bridge, PNG decoded in Triton": lambda: ours(png, model=ENSEMBLE),
        "careful consumer": other(subjects.careful),
    }
    if rig.device == "cuda":
        todo[SEVERAL_BRIDGES] = lambda: ours(count=int(SEVERAL_BRIDGES.split()[0]))
    if subjects.peers_python() is not None:
        todo |= {
            "usual demo": other(subjects.usual_demo),
            "Quix Streams": other(subjects.quix),
            "Quix Streams, exactly once": other(subjects.quix_exactly_once),
            "MLServer": mlserver,
        }
    result = repeat(todo, plan.repeats + MORE_REPEATS, say)
    result["settings"] = {
        "ceiling_batch": batch, "ceiling_in_flight": in_flight, "max_batch": rig.max_batch,
        "instances": rig.instances, "encoding": "raw uint8 32x32x3",
    }  # fmt: skip
    return result


def batches(rig: Rig, plan: Plan, say: Say) -> Result:
    """Images/s of Triton by the size of the requests, enough of them in flight."""
    sizes = [size for size in (1, 2, 4, 8, 16, 32, 64, 128, 256) if size <= rig.max_batch]
    images = 2 * rig.max_batch * rig.instances

    def of(size: int) -> Callable[[], Window]:
        return lambda: load(
            rig, [subjects.triton_load(rig, size, images // size)], plan.watch, model=MODEL
        )

    return repeat({str(size): of(size) for size in sizes}, plan.repeats, say)


FORMATS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "TorchScript": (),
        "pt2": ("--format", "pt2"),
        "TorchScript, bf16": ("--precision", "bf16"),
        "pt2, bf16": ("--format", "pt2", "--precision", "bf16"),
        "TorchScript, fp16": ("--precision", "fp16"),
        "pt2, fp16": ("--format", "pt2", "--precision", "fp16"),
    }
)


def formats(rig: Rig, plan: Plan, say: Say) -> Result:
    """Images/s of Triton by how the model was exported; fp16 is for GPUs."""
    images = 2 * rig.max_batch * rig.instances
    todo: dict[str, Callable[[], Window]] = {}
    missing = {}

    def of(repository: Path) -> Callable[[], Window]:
        def run() -> Window:
            with rig.other_triton(repository) as other:
                load_of = subjects.triton_load(other, rig.max_batch, images // rig.max_batch)
                return load(other, [load_of], plan.watch, model=MODEL)

        return run

    for name, options in FORMATS.items():
        if "fp16" in options and rig.device != "cuda":
            continue
        folder = "-".join(("format", *(one.strip("-") for one in options)))
        try:
            todo[name] = of(rig.export(folder, *options))
        except StackError as error:
            missing[name] = str(error)
            say(f"{name}: {error}")
    result = repeat(todo, plan.repeats, say)
    return {**result, "failures": {**result["failures"], **missing}}


def _best_load(rig: Rig, plan: Plan, say: Say) -> tuple[int, int]:
    """Batch and requests in flight with the highest rate, 2 x max batch x instances at least."""
    wanted = 2 * rig.max_batch * rig.instances
    rates: dict[tuple[int, int], float] = {}
    short = Watch(1.0, plan.watch.window_s / 2)
    for batch in (rig.max_batch // 4, rig.max_batch // 2, rig.max_batch):
        pair = (batch, wanted // batch)
        rates[pair] = load(rig, [subjects.triton_load(rig, *pair)], short, model=MODEL).rate
        say(f"ceiling with batch {pair[0]}, {pair[1]} in flight: {rates[pair]:,.0f} images/s")
    return max(rates, key=lambda pair: rates[pair])


SECTIONS: Mapping[str, Callable[[Rig, Plan, Say], Result]] = {
    "throughput": throughput,
    "overhead": overhead,
    "bridges": bridges,
    "latency": latency,
    "batches": batches,
    "formats": formats,
    "photos": photos,
}
