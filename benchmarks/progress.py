"""Reports a section's progress, and limits its time."""

import time
from collections.abc import Callable

from benchmarks.plan import Result


class Progress:
    """Reports of a running section, and its time.

    Args:
        say: shows a line.
        keep: called with all results so far whenever there are more.
        deadline: time of `clock` when the section must be done; None: there is no limit.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        keep: Callable[[Result], None],
        deadline: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.say = say
        self.keep = keep
        self._deadline = deadline
        self._clock = clock

    def part(self, share: float, about: Result) -> "Progress":
        """The progress of a part of a section: its share of the time left, and results kept with
        it."""
        left = self.left_s
        deadline = None if left is None else self._clock() + share * left
        return Progress(
            self.say, lambda found: self.keep({**about, **found}), deadline, self._clock
        )

    @property
    def left_s(self) -> float | None:
        """Seconds until the section must be done; None: there is no limit."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    def has_time(self, seconds: float) -> bool:
        """Whether there is time for something that takes this long."""
        left = self.left_s
        return left is None or seconds <= left


def shares(left_s: float, names: list[str], weights: dict[str, float]) -> float:
    """Seconds for the first of the sections that are still to be measured, by their weights."""
    return left_s * weights.get(names[0], 1.0) / sum(weights.get(name, 1.0) for name in names)
