"""The bridge and its rivals: right answers first, then throughput, then latency at one load."""

from collections.abc import Callable
from functools import partial

from benchmarks import subjects
from benchmarks.latency import FIRST, offer
from benchmarks.models import NULL
from benchmarks.null_model import warm_broker
from benchmarks.plan import Plan, Result
from benchmarks.progress import Progress
from benchmarks.repeats import NO_TIME, repeat
from benchmarks.rig import MODEL, Rig
from benchmarks.rivals.answers import feed, require_right
from benchmarks.rivals.entries import RIVALS, Rival
from benchmarks.rivals.flink import write_variants
from benchmarks.rivals.table import CEILING, EXACTLY_ONCE, LOADS, OURS, null
from benchmarks.spread import Spread, alternated
from benchmarks.window import Watch, Window, drain, load
from producer.encoding import Encoding
from stack.errors import StackError
from stack.service import Service

REPEATS = 5
WATCH = Watch(1.0, 2.5)
WATCH_JAVA = WATCH._replace(warm_s=8.0)
"""A second after its first answers, Java still compiles: an image of the real model took it 235 µs,
and one of the null model, which came after many more, 57 µs."""
FIRST_JAVA = 2_000
"""Images that Java answers before its latency is measured."""
BACKLOG = 600_000
"""More images than the fastest subject answers with the null model."""
JSON_IMAGES = 40_000
"""More than Flink and MLServer answer while they are watched; they come when these have started."""
COMMITTED_S = 1.0
"""A transaction takes half of it: until then its answers are not there for a reader."""
SUSTAINS = 0.9
"""Share of its own throughput up to which a subject is measured at a load."""
LATENCY_S, SETTLE_S = 3.0, 2.0
THROUGHPUT = 0.65
"""Share of limited time for throughput; the rest is for latency."""


def rivals(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Throughput through the real model and the null model, and latency, of each that is right."""
    repeats = min(REPEATS, plan.repeats + plan.more_repeats)
    right: dict[str, int] = {}
    failures: dict[str, str] = {}
    for rival in RIVALS:
        try:
            right[rival.name] = require_right(rig, rival)
            progress.say(f"{rival.name}: {right[rival.name]} of 1,000 right")
        except StackError as error:
            failures[rival.name] = str(error)
            progress.say(f"{rival.name}: {error}")
    taking_part = [rival for rival in RIVALS if rival.name in right]
    warm_broker(rig)
    backlog = rig.backlog(BACKLOG, Encoding.RAW)

    def ceiling() -> Window:
        return load(rig, subjects.triton_load(rig, rig.max_batch // 4, 16), WATCH, model=MODEL)

    # Not counted: whoever is first finds the model cold.
    ceiling()

    def of(rival: Rival, model: str) -> Callable[[], Window]:
        def run() -> Window:
            source = rig.topic("in") if rival.takes_json else backlog
            target = rig.topic("out")
            subject = rival.start(rig, source, target, model)

            def fill() -> None:
                if rival.takes_json:
                    feed(rig, rival, subject, source, JSON_IMAGES)

            settle_s = COMMITTED_S if rival.guarantee == EXACTLY_ONCE else 0
            watch = WATCH_JAVA if rival.on_java else WATCH
            return drain(rig, subject, source, target, watch, model=model, after_start=fill,
                         settle_s=settle_s)  # fmt: skip

        return run

    todo = {rival.name: of(rival, MODEL) for rival in taking_part}
    todo[CEILING] = ceiling
    todo |= {null(rival.name): of(rival, NULL) for rival in taking_part if rival.null}
    about = {
        "right": right,
        "points": [],
        "rivals": {one.name: {"guarantee": one.guarantee, "how": one.how} for one in RIVALS},
    }
    result = {**about, **repeat(todo, repeats, progress.part(THROUGHPUT, about))}
    result["failures"] = {**failures, **result["failures"]}
    rates = {
        name: Spread.of([one["rate"] for one in windows]).median
        for name, windows in result["measurements"].items()
    }
    _latencies(rig, taking_part, rates, repeats, progress, result)
    return result


def _latencies(
    rig: Rig,
    rivals: list[Rival],
    rates: dict[str, float],
    repeats: int,
    progress: Progress,
    result: Result,
) -> None:
    """Add the points to the result, as they come."""
    by_name = {rival.name: rival for rival in rivals}
    ours = rates[OURS]
    for turn in range(repeats):
        for share in LOADS:
            names = [
                rival.name for rival in rivals
                if rival.lone and share * ours <= SUSTAINS * rates.get(rival.name, 0)
            ]  # fmt: skip
            for name in alternated(names, turn):
                if not progress.has_time(LATENCY_S + 4 * SETTLE_S):
                    result["failures"].setdefault(f"latency of {name} at {share:.0%}", NO_TIME)
                    continue
                try:
                    start = partial(_start, by_name[name], rig)
                    first = FIRST_JAVA if by_name[name].on_java else FIRST
                    point = offer(rig, start, share * ours, LATENCY_S, SETTLE_S, first)
                except StackError as error:
                    result["failures"][f"latency of {name} at {share:.0%}"] = str(error)
                    progress.say(f"{name} at {share:.0%}: {error}")
                    continue
                result["points"].append({"repeat": turn, "share": share, "subject": name, **point})
                progress.keep(result)
                progress.say(
                    f"{name} at {share:.0%}: p50 {point['p50']:.1f} ms, p99 {point['p99']:.1f} ms"
                )


def _start(rival: Rival, rig: Rig, source: str, target: str) -> list[Service]:
    return rival.start(rig, source, target, MODEL)


def prepare(rig: Rig) -> None:
    """Write what Flink needs beside the model; called before Triton starts."""
    write_variants(rig.repository, MODEL)
