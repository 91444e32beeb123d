"""Measures how the cost of an image grows with partitions, bridges, brokers, size and backlog."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy

import numpy as np

from benchmarks import subjects
from benchmarks.models import NULL, write_null_model
from benchmarks.null_model import START_S, warm_broker
from benchmarks.plan import Plan, Result
from benchmarks.procfs import tree_usage
from benchmarks.progress import Progress
from benchmarks.repeats import repeat
from benchmarks.rig import Rig
from benchmarks.window import Watch, Window, answer_all, drain, running, wait_until
from producer.encoding import EncodedImage, Encoding, encode
from producer.sources import cifar10
from stack.cluster import KafkaCluster

PARTITIONS = (1, 4, 12)
MANY = PARTITIONS[-1]
BRIDGES = (2, 4)
BROKERS = 3
SIDES = (32, 102, 323, 584)
"""Sides of square images in pixels: 3 KB, 31 KB, 313 KB and 1 MB raw. A broker takes 1 MiB."""
TINY = 4
"""Side of the images of long backlogs: ten million images of 3 KB would fill 40 GB."""
MOST_BYTES = 3 << 30
"""Most bytes of a backlog of large images."""
DISTINCT = 8
"""Number of different large images, which are repeated."""
SPARE = 2.0
"""Size of a backlog as a multiple of the images that are expected to be answered."""
FIRST, FIRST_BYTES = (400, 60_000), 400 << 20
"""Fewest and most images, and else their bytes, that are answered before anything is measured, to
find the rate: a second or more, since the first images take longer than the others."""


def growth(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Images/s, CPU and memory by what grows, against models that answer at once."""
    rate = warm_broker(rig)
    todo: dict[str, Callable[[], Window]] = {}
    images = cifar10(Encoding.RAW)
    for count in PARTITIONS:
        backlog = _backlog(rig, images, int(4 * rate * _lasts(plan.watch)), count)
        todo[f"{count} partitions" if count > 1 else "1 partition"] = _drained(rig, backlog, plan)
    for count in BRIDGES:
        todo[f"{MANY} partitions, {count} bridges"] = _drained(rig, backlog, plan, count=count)
    sizes = rig.directory / "sized-models"
    for side in SIDES:
        write_null_model(sizes, _model(side), (side, side, 3), side)
    with rig.other_triton(sizes) as sized, _three_brokers(rig) as several:
        for side in SIDES:
            todo[f"images of {3 * side * side / 1000:,.0f} KB"] = _of_size(sized, side, plan)
        warm_broker(several)
        backlog = _backlog(several, images, int(4 * rate * _lasts(plan.watch)), MANY)
        todo[f"{MANY} partitions, {BROKERS} brokers"] = _drained(several, backlog, plan)
        result = repeat(todo, plan.repeats, progress)
    tiny = rig.directory / "tiny-model"
    write_null_model(tiny, _model(TINY), (TINY, TINY, 3), TINY)
    with rig.other_triton(tiny) as served:
        starts = list(_starts(served, plan, progress))
    return {**result, "starts": starts}


def _lasts(watch: Watch) -> float:
    return START_S + watch.warm_s + watch.window_s


def _model(side: int) -> str:
    return f"{NULL}_{side}"


def _backlog(rig: Rig, images: list[EncodedImage], count: int, partitions: int) -> str:
    topic = rig.topic("backlog", partitions)
    rig.fill_images(topic, images, count)
    return topic


def _drained(
    rig: Rig, source: str, plan: Plan, model: str = NULL, count: int = 1
) -> Callable[[], Window]:
    def run() -> Window:
        target = rig.topic("out")
        subject = subjects.bridges(rig, source, target, count, model)
        return drain(rig, subject, source, target, plan.watch, model=model)

    return run


def _of_size(rig: Rig, side: int, plan: Plan) -> Callable[[], Window]:
    """Measure large images with a smaller backlog, for as long as it lasts."""
    images, size = _raw(side), 3 * side * side
    few, many = FIRST
    first = _backlog(rig, images, max(few, min(many, FIRST_BYTES // size)), 1)
    target = rig.topic("out")
    rate = answer_all(rig, subjects.bridges(rig, first, target, model=_model(side)), first, target)
    count = int(min(SPARE * rate * _lasts(plan.watch), MOST_BYTES / size))
    seconds = max(1.0, count / (SPARE * rate) - START_S - plan.watch.warm_s)
    watch = Watch(plan.watch.warm_s, min(plan.watch.window_s, seconds))
    source = _backlog(rig, images, count, 4)

    def run() -> Window:
        target = rig.topic("out")
        subject = subjects.bridges(rig, source, target, model=_model(side))
        return drain(rig, subject, source, target, watch, model=_model(side))

    return run


def _raw(side: int) -> list[EncodedImage]:
    rng = np.random.default_rng(0)
    return [
        encode(rng.integers(0, 256, (side, side, 3), np.uint8), Encoding.RAW)
        for _ in range(DISTINCT)
    ]


@contextmanager
def _three_brokers(rig: Rig) -> Iterator[Rig]:
    """The same rig with a cluster of brokers, which replicate every record to all of them."""
    other = copy(rig)
    with KafkaCluster(rig.directory / "cluster", BROKERS) as other.kafka:
        other.replicas = BROKERS
        yield other


def _starts(rig: Rig, plan: Plan, progress: Progress) -> Iterator[dict[str, float]]:
    """The time until a bridge answers when a backlog of a given size waits for it."""
    images = _raw(TINY)
    for waiting in plan.backlogs:
        source = _backlog(rig, images, waiting, MANY)
        for _ in range(plan.repeats):
            start = _start(rig, source)
            progress.say(
                f"{waiting:,} images wait: ready in {start['ready_s']:.1f} s, "
                f"first answer in {start['first_answer_s']:.1f} s"
            )
            yield {"waiting": waiting, **start}


def _start(rig: Rig, source: str) -> dict[str, float]:
    target = rig.topic("out")
    subject = subjects.bridges(rig, source, target, model=_model(TINY))
    began = time.monotonic()
    with running(rig, subject):
        ready = time.monotonic()
        wait_until(rig, lambda: rig.ends(target) > 0, subject, "an answer")
        answered = time.monotonic()
        rss = tree_usage([part.pid for part in subject]).rss_bytes
    return {"ready_s": ready - began, "first_answer_s": answered - began, "rss_bytes": rss}
