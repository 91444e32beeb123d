"""One measurement: starts the subject, lets it warm up, watches it for a while, and stops it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from benchmarks.procfs import tree_usage
from benchmarks.rig import Rig
from stack.bridge import Bridge
from stack.errors import StackError
from stack.service import Service

FIRST_ANSWER_S = 120.0
POLL_S = 0.1
LEAST_IMAGES = 500
"""Fewest images of a window: the rate of fewer images would be chance."""
LONGEST = 10
"""Factor by which a window may be longer than planned to hold them."""


class Window(NamedTuple):
    """What happened in `seconds`.

    Attributes:
        images: number of answered images.
        cpu_s: CPU seconds of the subject, of the broker, and of Triton.
        rss_bytes: resident memory of the subject at the window's begin and end.
        mean_batch: images in an execution of Triton, None where it did nothing.
        queue_ms, compute_ms: mean milliseconds of a request in Triton.
        gpu: means of utilisation (per cent), watts and memory_mib; None without a GPU.
    """

    seconds: float
    images: int
    cpu_s: dict[str, float]
    rss_bytes: tuple[int, int]
    mean_batch: float | None
    queue_ms: float | None
    compute_ms: float | None
    gpu: dict[str, float] | None = None

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


class _Watched(NamedTuple):
    """A window by Triton's count, with its beginning and end in epoch milliseconds."""

    begin_ms: int
    end_ms: int
    window: Window


def drain(
    rig: Rig,
    subject: Sequence[Service],
    source: str,
    target: str,
    watch: Watch,
    *,
    model: str,
    after_start: Callable[[], None] = lambda: None,
    settle_s: float = 0.0,
) -> Window:
    """How fast `subject` answers a backlog, counted by the broker's stamps on the answers.

    Args:
        source: the topic of the backlog.
        target: a topic of this measurement alone.
        model: the model whose counters in Triton are read.
        after_start: called when the subject's processes run.
        settle_s: seconds to wait at the end, for a subject that does not commit when it stops.

    Raises:
        StackError: the subject died, did not answer, or answered everything too soon.
        ServerDiedError: a server died.
    """
    with running(rig, subject):
        after_start()
        wait_until(
            rig,
            lambda: rig.ends(target) > 0 and all(map(_takes_part, subject)),
            subject,
            "an answer",
        )
        time.sleep(watch.warm_s)
        watched = _watch(rig, subject, watch.window_s, model, lambda: rig.ends(target))
        require_alive(rig, subject)
        # The last answers of the window may still be on their way, or uncommitted.
        time.sleep(settle_s)
        for part in subject:
            part.stop()
    times = rig.append_times(target)
    if len(times) >= rig.ends(source):
        raise StackError(f"{subject[0].name} ran out of images: a larger backlog is needed")
    images = sum(watched.begin_ms <= stamp < watched.end_ms for stamp in times)
    return watched.window._replace(images=images)


def answer_all(rig: Rig, subject: Sequence[Service], source: str, target: str) -> float:
    """Have `subject` answer all of a backlog; images/s from its first answer to its last.

    Raises:
        StackError: it died, or it did not answer all.
        ServerDiedError: a server died.
    """
    count = rig.ends(source)
    with running(rig, subject):
        wait_until(rig, lambda: rig.ends(target) >= count, subject, "its last answer")
    times = rig.append_times(target)
    return 1000 * len(times) / max(1, max(times) - min(times))


@contextmanager
def running(rig: Rig, subject: Sequence[Service]) -> Iterator[None]:
    """Run the subject until the end of the context; whatever happens, none of it is left.

    Raises:
        StackError: one of the subject died, or did not become ready.
        ServerDiedError: a server had died before.
    """
    rig.require_servers()  # a bridge would wait two minutes for a dead one
    with ExitStack() as running:
        for part in subject:
            running.callback(part.kill)
            part.launch()
        for part in subject:
            part.wait_ready()
        yield


def load(rig: Rig, subject: Sequence[Service], watch: Watch, *, model: str) -> Window:
    """How fast Triton answers load that does not come through Kafka, by Triton's own count.

    Raises:
        StackError: the load died, or Triton did not answer it.
        ServerDiedError: a server died.
    """

    def answered() -> int:
        return rig.counters(model).inferences

    with ExitStack() as running:
        before = answered()
        for part in subject:
            running.callback(part.stop)
            part.launch()
        wait_until(rig, lambda: answered() > before, subject, "an answer")
        time.sleep(watch.warm_s)
        window = _watch(rig, subject, watch.window_s, model, answered).window
        require_alive(rig, subject)
    return window


def wait_until(
    rig: Rig, condition: Callable[[], bool], subject: Sequence[Service], what: str
) -> None:
    """Return when `condition` holds.

    Raises:
        StackError: one of the subject died, or it took longer than `FIRST_ANSWER_S`.
        ServerDiedError: a server died.
    """
    deadline = time.monotonic() + FIRST_ANSWER_S
    while not condition():
        require_alive(rig, subject)
        if time.monotonic() > deadline:
            raise StackError(
                f"{subject[0].name}: {what} did not come in {FIRST_ANSWER_S:.0f} s; "
                f"see {subject[0].log_path}"
            )
        time.sleep(POLL_S)


def require_alive(rig: Rig, subject: Sequence[Service]) -> None:
    """Check that the servers and the subject run.

    Raises:
        StackError: one of the subject died.
        ServerDiedError: a server died.
    """
    rig.require_servers()
    for part in subject:
        part.require_alive()


def _takes_part(part: Service) -> bool:
    """Whether one of several bridges has partitions; of a single one the first answer shows it."""
    return not isinstance(part, Bridge) or part.metrics()["bridge_images_answered_total"] > 0


def _watch(
    rig: Rig, subject: Sequence[Service], seconds: float, model: str, answered: Callable[[], int]
) -> _Watched:
    roots = {
        "subject": [part.pid for part in subject],
        "kafka": rig.kafka_pids,
        "triton": [rig.triton.pid],
    }
    enough = answered() + LEAST_IMAGES
    counters, begin, begin_ms = rig.counters(model), time.monotonic(), time.time_ns() // 1_000_000
    before = {name: tree_usage(pids) for name, pids in roots.items()}
    time.sleep(seconds)
    while answered() < enough and time.monotonic() < begin + LONGEST * seconds:
        require_alive(rig, subject)
        time.sleep(POLL_S)
    after = {name: tree_usage(pids) for name, pids in roots.items()}
    end, end_ms = time.monotonic(), time.time_ns() // 1_000_000
    later = rig.counters(model)
    executions = later.executions - counters.executions
    images = later.inferences - counters.inferences
    window = Window(
        seconds=end - begin,
        images=images,
        cpu_s={name: after[name].cpu_s - before[name].cpu_s for name in roots},
        rss_bytes=(before["subject"].rss_bytes, after["subject"].rss_bytes),
        mean_batch=images / executions if executions else None,
        queue_ms=_mean_ms(counters.spent["queue"], later.spent["queue"]),
        compute_ms=_mean_ms(counters.spent["compute_infer"], later.spent["compute_infer"]),
        gpu=rig.gpu.between(begin, end),
    )
    return _Watched(begin_ms, end_ms, window)


def _mean_ms(before: tuple[int, int], after: tuple[int, int]) -> float | None:
    count = after[0] - before[0]
    return (after[1] - before[1]) / count / 1e6 if count else None
