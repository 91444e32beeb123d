"""The time at which each image is due: no slow answer or slow send can delay the schedule."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SECOND = 1_000_000_000
"""Nanoseconds of a second."""

_NEVER = 1 << 62
"""Later than any run lasts, in nanoseconds: 146 years."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Image i is due i/rate seconds after the start; rate 0: as soon as the one before is sent.

    Attributes:
        rate: images per second.
        count: number of images in all; None: no limit.
        duration_ns: images that are due from then on are not sent; None: no limit.
    """

    rate: float
    count: int | None = None
    duration_ns: float | None = None

    def due_ns(self, index: int) -> int:
        """Due time in nanoseconds after the start; computed from the index alone, so errors do not
        add up."""
        return round(min(index * SECOND / self.rate, _NEVER)) if self.rate else 0


def paced(
    schedule: Schedule, elapsed: Callable[[], int], wait: Callable[[int], bool]
) -> Iterator[tuple[int, int]]:
    """Yield (index, intended time in ns after the start) of each image when it is due.

    An image that is overdue is yielded at once and keeps its intended time.

    Args:
        schedule: the due times.
        elapsed: returns nanoseconds since the start.
        wait: returns at the given time in ns after the start, at once if that has passed; False
            ends the iteration.
    """
    index = 0
    while schedule.count is None or index < schedule.count:
        due = schedule.due_ns(index) if schedule.rate else elapsed()
        if schedule.duration_ns is not None and due >= schedule.duration_ns:
            return
        if not wait(due):
            return
        yield index, due
        index += 1


class Timer:
    """The real clock of a run: paced by the monotonic clock, stamped in wall-clock time.

    Intended times depend only on the start. If the wall clock is set during the run, intended and
    actual send times differ by that; the pace never changes.
    """

    # The kernel wakes a sleeper about 50 us late; a Kafka poll may return up to about 1 ms late.
    _POLL_MARGIN_NS = 2_000_000
    _LONGEST_POLL = 0.1
    """Longest time in seconds for which a request to stop may go unnoticed."""

    def __init__(self) -> None:
        self.start_wall_ns = time.time_ns()
        self._start = time.monotonic_ns()

    def elapsed(self) -> int:
        """Nanoseconds since the start."""
        return time.monotonic_ns() - self._start

    def wait(self, due: int, serve: Callable[[float], object], stop: Callable[[], bool]) -> bool:
        """Sleep until `due`, calling `serve(seconds)` meanwhile; False once `stop` returns True.

        `serve` may block for as long as it is told. It is called at least once, so that even a run
        that is always late gets its delivery reports.
        """
        serve(0)
        while not stop():
            left = due - self.elapsed()
            if left <= 0:
                return True
            if left > self._POLL_MARGIN_NS:
                serve(min((left - self._POLL_MARGIN_NS) / SECOND, self._LONGEST_POLL))
            else:
                time.sleep(left / SECOND)
        return False
