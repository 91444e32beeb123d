"""The sections of the benchmark. Each has its own servers and gives one JSON-able result."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks import subjects
from benchmarks.models import NULL
from benchmarks.rig import IMAGES, MODEL, Rig, mlserver_records
from benchmarks.statistics import alternated, percentile
from benchmarks.window import Watch, Window, drain, load
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.errors import StackError
from stack.service import Service

Result = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        repeats: of each comparison, alternating.
        watch: of throughput measurements.
        null_images: backlog for the null model, which answers thousands a second.
        images: backlog for the real model.
        rates: shares of the measured throughput at which latency is taken.
        latency_s: seconds of load at each.
    """

    repeats: int
    watch: Watch
    images: int
    null_images: int
    rates: tuple[float, ...]
    latency_s: float


FULL = Plan(3, Watch(2.0, 6.0), 60_000, 160_000, (0.1, 0.25, 0.5, 0.75, 0.9, 1.05), 10.0)
QUICK = Plan(2, Watch(1.5, 3.0), 30_000, 90_000, (0.1, 0.75), 5.0)
CUDA_BACKLOG = 20
"""Times as many images, for a model on a GPU."""
AT_LEAST_ONCE: Mapping[str, str] = MappingProxyType({"delivery": "at-least-once"})
EXACTLY_ONCE: Mapping[str, str] = MappingProxyType({"delivery": "exactly-once"})
LOW = 0.1
"""The share of the throughput at which the latency of lone images is judged."""


def throughput(rig: Rig, plan: Plan, say: Say) -> Result:
    """Images/s through the real model: the ceiling, ours, and the others."""
    backlog = rig.backlog(plan.images * _scale(rig), Encoding.RAW)
    png = rig.backlog(plan.images * _scale(rig), Encoding.PNG)
    batch, in_flight = _best_load(rig, plan, say)
    our_rate = [0.0]

    def ours(source: str = backlog, settings: Mapping[str, str] = AT_LEAST_ONCE) -> Window:
        target = rig.topic("out")
        subject = subjects.bridges(rig, source, target, settings=settings)
        found = drain(rig, subject, target, plan.watch, model=MODEL)
        if settings is AT_LEAST_ONCE and source == backlog:
            our_rate[0] = found.rate
        return found

    def other(start: Callable[[Rig, str, str], list[Service]]) -> Callable[[], Window]:
        def run() -> Window:
            target = rig.topic("out")
            subject = start(rig, backlog, target)
            return drain(rig, subject, target, plan.watch, model=MODEL)

        return run

    def ceiling_beside() -> Window:
        rate = our_rate[0] or ours().rate
        return load(
            rig,
            [subjects.triton_load(rig, batch, in_flight),
             subjects.relay(rig, backlog, rig.topic("out"), rate)],
            plan.watch, model=MODEL,
        )  # fmt: skip

    def mlserver() -> Window:
        source, target = rig.topic("in"), rig.topic("out")
        seconds = plan.watch.warm_s + plan.watch.window_s
        count = int(seconds * 1500 * _scale(rig))  # it takes no backlog, so just enough
        records = list(mlserver_records(cifar10(Encoding.RAW), count, MODEL))
        subject = subjects.mlserver(rig, source, target)

        def fill() -> None:
            _await_mlserver(subject[0])
            rig.fill(source, records)

        return drain(rig, subject, target, plan.watch, model=MODEL, after_start=fill)

    todo: dict[str, Callable[[], Window]] = {
        "bridge": ours,
        "ceiling": lambda: load(
            rig, [subjects.triton_load(rig, batch, in_flight)], plan.watch, model=MODEL
        ),
        "ceiling with broker load": ceiling_beside,
        "bridge, exactly once": lambda: ours(settings=EXACTLY_ONCE),
        "bridge, PNG": lambda: ours(png),
        "careful consumer": other(subjects.careful),
    }
    if subjects.peers_python() is not None:
        todo |= {
            "usual demo": other(subjects.usual_demo),
            "Quix Streams": other(subjects.quix),
            "MLServer": mlserver,
        }
    result = _repeat(todo, plan.repeats, say)
    result["settings"] = {
        "ceiling_batch": batch, "ceiling_in_flight": in_flight, "max_batch": rig.max_batch,
        "instances": rig.instances, "encoding": "raw uint8 32x32x3",
    }  # fmt: skip
    return result


def batches(rig: Rig, plan: Plan, say: Say) -> Result:
    """Images/s of Triton by the size of the requests, enough of them in flight."""
    sizes = [size for size in (1, 4, 16, 64, 256) if size <= rig.max_batch]
    images = 2 * rig.max_batch * rig.instances

    def of(size: int) -> Callable[[], Window]:
        return lambda: load(
            rig, [subjects.triton_load(rig, size, images // size)], plan.watch, model=MODEL
        )

    return _repeat({str(size): of(size) for size in sizes}, max(1, plan.repeats - 2), say)


def overhead(rig: Rig, plan: Plan, say: Say) -> Result:
    """CPU of the bridge for each image against the null model, and several bridges."""
    backlogs = {
        encoding.value: rig.backlog(plan.null_images, encoding)
        for encoding in (Encoding.RAW, Encoding.PNG)
    }

    def ours(
        encoding: str, count: int = 1, settings: Mapping[str, str] = AT_LEAST_ONCE
    ) -> Callable[[], Window]:
        def run() -> Window:
            target = rig.topic("out")
            subject = subjects.bridges(rig, backlogs[encoding], target, count, NULL, settings)
            return drain(rig, subject, target, plan.watch, model=NULL)

        return run

    todo = {
        "raw": ours("raw"),
        "PNG": ours("png"),
        "raw, exactly once": ours("raw", settings=EXACTLY_ONCE),
    }
    for count in range(2, len(os.sched_getaffinity(0)) + 1):
        todo[f"raw, {count} bridges"] = ours("raw", count)
        todo[f"PNG, {count} bridges"] = ours("png", count)
    return _repeat(todo, plan.repeats, say)


def latency(rig: Rig, plan: Plan, say: Say) -> Result:
    """Latency of single images by offered load: Triton alone, ours, and the usual demo."""
    backlog = rig.backlog(plan.images * _scale(rig), Encoding.RAW)
    target = rig.topic("out")
    top = drain(rig, subjects.bridges(rig, backlog, target), target, plan.watch, model=MODEL).rate
    demo_top = 0.0
    if subjects.peers_python() is not None:
        target = rig.topic("out")
        demo = subjects.usual_demo(rig, backlog, target)
        demo_top = drain(rig, demo, target, plan.watch, model=MODEL).rate
    points: list[Result] = []
    for repeat in range(plan.repeats):
        rates = plan.rates if repeat < 2 else (LOW,)  # the judged point is the one repeated
        for share in rates:
            names = ["Triton", "bridge"] + (["usual demo"] if share * top < 0.9 * demo_top else [])
            for name in alternated(names, repeat):
                point = _latency_point(rig, name, share * top, plan.latency_s)
                points.append({"repeat": repeat, "share": share, "subject": name, **point})
                say(f"{name} at {share:.0%}: p50 {point['p50']:.1f} ms, p99 {point['p99']:.1f} ms")
    return {"top_rate": top, "usual_demo_top_rate": demo_top, "points": points}


def _latency_point(rig: Rig, name: str, rate: float, seconds: float) -> Result:
    output = rig.directory / "latencies.json"
    argv = [
        sys.executable, str(subjects.PROGRAMS / "probe.py"), "--images", str(IMAGES), "--rate",
        f"{rate:.3f}", "--seconds", str(seconds), "--output", str(output),
    ]  # fmt: skip
    subject: list[Service] = []
    if name == "Triton":
        argv += ["--triton", rig.triton.grpc, "--model", MODEL]
    else:
        source, target = rig.topic("in"), rig.topic("out")
        make = subjects.bridges if name == "bridge" else subjects.usual_demo
        subject = make(rig, source, target)
        argv += ["--brokers", rig.kafka.bootstrap, "--source", source, "--target", target]
    before = rig.counters(MODEL)
    try:
        for part in subject:
            part.start()
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    finally:
        for part in subject:
            part.stop()
    if done.returncode != 0:
        raise StackError(f"the latency of {name} could not be measured\n{done.stderr[-2000:]}")
    after = rig.counters(MODEL)
    found = json.loads(output.read_text())
    latencies = found["latencies_ms"]
    executions = after.executions - before.executions
    return {
        "rate": rate,
        "sent": found["sent"],
        "answered": found["answered"],
        "p50": percentile(latencies, 0.5),
        "p90": percentile(latencies, 0.9),
        "p99": percentile(latencies, 0.99),
        "max": max(latencies),
        "mean_batch": (after.inferences - before.inferences) / executions if executions else None,
    }


def _repeat(todo: Mapping[str, Callable[[], Window]], repeats: int, say: Say) -> Result:
    """Every subject once in each repeat, every second repeat in reverse."""
    found: dict[str, list[dict[str, object]]] = {name: [] for name in todo}
    failures: dict[str, str] = {}
    for repeat in range(repeats):
        for name in alternated(list(todo), repeat):
            if name in failures:
                continue
            try:
                window = todo[name]()
            except StackError as error:
                # The rest still counts; what failed is told in the results.
                failures[name] = str(error)
                say(f"{name}: failed: {error}")
                continue
            found[name].append(window.as_json())
            say(
                f"{name}: {window.rate:,.0f} images/s, CPU {window.cpu_us['subject']:,.0f} µs/image"
            )
    for name in failures:
        del found[name]
    return {"measurements": found, "failures": failures}


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


def _await_mlserver(server: Service, timeout_s: float = 60) -> None:
    import time  # noqa: PLC0415

    deadline = time.monotonic() + timeout_s
    while "Kafka server consuming" not in server.log_path.read_text(errors="replace"):
        server.require_alive()
        if time.monotonic() > deadline:
            raise StackError(f"MLServer did not start; see {server.log_path}")
        time.sleep(0.2)


def _scale(rig: Rig) -> int:
    return CUDA_BACKLOG if rig.device == "cuda" else 1


SECTIONS: Mapping[str, Callable[[Rig, Plan, Say], Result]] = {
    "throughput": throughput,
    "overhead": overhead,
    "latency": latency,
    "batches": batches,
}


def save(folder: Path, name: str, result: Result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
