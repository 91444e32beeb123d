"""One measurement: start the subject, let it warm up, watch it for a while, stop it."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.procfs import tree_usage
from benchmarks.rig import Rig
from stack.bridge import Bridge
from stack.errors import StackError
from stack.service import Service

FIRST_ANSWER_S = 90.0
POLL_S = 0.1


class Window(NamedTuple):
    """What happened in `seconds`.

    Attributes:
        images: answered.
        cpu_s: CPU seconds of the subject, of the broker, and of Triton.
        rss_bytes: resident memory of the subject at the window's begin and end.
        mean_batch: images in an execution of Triton, None where it did nothing.
        queue_ms, compute_ms: of a request in Triton, on average.
    """

    seconds: float
    images: int
    cpu_s: dict[str, float]
    rss_bytes: tuple[int, int]
    mean_batch: float | None
    queue_ms: float | None
    compute_ms: float | None

    @property
    def rate(self) -> float:
        """Images/s."""
        return self.images / self.seconds

    @property
    def cpu_us(self) -> dict[str, float]:
        """CPU microseconds per image."""
        return {name: 1e6 * s / max(1, self.images) for name, s in self.cpu_s.items()}

    def as_json(self) -> dict[str, object]:
        return {**self._asdict(), "rate": self.rate, "cpu_us": self.cpu_us}


class Watch(NamedTuple):
    """How long to watch; seconds."""

    warm_s: float
    window_s: float


def drain(
    rig: Rig,
    subject: Sequence[Service],
    target: str,
    watch: Watch,
    *,
    model: str,
    after_start: Callable[[], None] = lambda: None,
) -> Window:
    """How fast `subject` answers a backlog, counted by the broker's stamps on the answers.

    Args:
        target: a topic of this measurement alone.
        model: whose counters in Triton are read.
        after_start: called when the subject's processes run.

    Raises:
        StackError: it died, it did not answer, or it had answered everything too soon.
    """
    with ExitStack() as running:
        for part in subject:
            running.callback(part.kill)
            part.launch()
        for part in subject:
            part.wait_ready()
        after_start()
        _await(lambda: rig.ends(target) > 0 and all(map(_takes_part, subject)), subject)
        time.sleep(watch.warm_s)
        window = _watch(rig, subject, watch.window_s, model)
        begin_ms, end_ms = window[0], window[1]
        for part in subject:
            part.require_alive()
        # Answers of the window's last moments may still be on their way, or uncommitted.
        for part in subject:
            part.stop()
    times = rig.append_times(target)
    if max(times) < end_ms - 500:
        raise StackError(f"{subject[0].name} ran out of images: a larger backlog is needed")
    images = sum(begin_ms <= stamp < end_ms for stamp in times)
    return window[2]._replace(images=images)


def load(rig: Rig, subject: Sequence[Service], watch: Watch, *, model: str) -> Window:
    """How fast Triton answers load that does not come through Kafka, by Triton's own count."""
    with ExitStack() as running:
        before = rig.counters(model).inferences
        for part in subject:
            running.callback(part.stop)
            part.launch()
        _await(lambda: rig.counters(model).inferences > before, subject)
        time.sleep(watch.warm_s)
        found = _watch(rig, subject, watch.window_s, model)[2]
        for part in subject:
            part.require_alive()
    return found


def _takes_part(part: Service) -> bool:
    """Whether a bridge of several has got partitions; for the others, the first answer says it."""
    return not isinstance(part, Bridge) or part.metrics()["bridge_images_answered_total"] > 0


def _await(condition: Callable[[], bool], subject: Sequence[Service]) -> None:
    deadline = time.monotonic() + FIRST_ANSWER_S
    while not condition():
        for part in subject:
            part.require_alive()
        if time.monotonic() > deadline:
            raise StackError(f"{subject[0].name} answered nothing; see {subject[0].log_path}")
        time.sleep(POLL_S)


def _watch(
    rig: Rig, subject: Sequence[Service], seconds: float, model: str
) -> tuple[int, int, Window]:
    """(begin, end) in epoch milliseconds, and the window with Triton's count of images."""
    roots = {
        "subject": [part.pid for part in subject],
        "kafka": [rig.kafka.pid],
        "triton": [rig.triton.pid],
    }
    counters, begin, begin_ms = rig.counters(model), time.monotonic(), time.time_ns() // 1_000_000
    before = {name: tree_usage(pids) for name, pids in roots.items()}
    time.sleep(seconds)
    after = {name: tree_usage(pids) for name, pids in roots.items()}
    end, end_ms = time.monotonic(), time.time_ns() // 1_000_000
    later = rig.counters(model)
    executions = later.executions - counters.executions
    images = later.inferences - counters.inferences
    return (
        begin_ms,
        end_ms,
        Window(
            seconds=end - begin,
            images=images,
            cpu_s={name: after[name].cpu_s - before[name].cpu_s for name in roots},
            rss_bytes=(before["subject"].rss_bytes, after["subject"].rss_bytes),
            mean_batch=images / executions if executions else None,
            queue_ms=_mean_ms(counters.spent["queue"], later.spent["queue"]),
            compute_ms=_mean_ms(counters.spent["compute_infer"], later.spent["compute_infer"]),
        ),
    )


def _mean_ms(before: tuple[int, int], after: tuple[int, int]) -> float | None:
    count = after[0] - before[0]
    return (after[1] - before[1]) / count / 1e6 if count else None
