"""Rates, percentiles and stages of the last seconds. Pure; its size does not depend on traffic."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hdrh.histogram import HdrHistogram

from consumer.measuring.statistics import LONGEST_US, STAGES

HISTORY_SECONDS = 120
SUMMARY_SECONDS = 10
"""Seconds over which the headline figures are taken: short enough to follow changes, long enough to
be steady."""
DIGITS = 2
"""Significant digits of a percentile: enough for a chart, and 30 kB for each second that is
kept."""
PERCENTILES = (50.0, 90.0, 99.0)


class Point(NamedTuple):
    """One past second; percentiles are in milliseconds, None where no image was answered."""

    images: int
    answered: int
    dead_lettered: int
    p50: float | None
    p90: float | None
    p99: float | None


class Summary(NamedTuple):
    """The figures of the last `SUMMARY_SECONDS` together.

    Attributes:
        rate: answered images per second.
        p50, p90, p99, longest: milliseconds; None where no image was answered.
        labelled: answered images with a known label; `correct`: those of them answered right.
        mean_request: mean number of images in a request to Triton.
        stages: mean milliseconds of each of `consumer.statistics.STAGES`.
        clock_errors: answers that came before their image was sent; not in the percentiles.
    """

    rate: float = 0.0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    longest: float | None = None
    labelled: int = 0
    correct: int = 0
    mean_request: float | None = None
    stages: tuple[float | None, ...] = (None,) * len(STAGES)
    clock_errors: int = 0


@dataclass(slots=True)
class _Second:
    images: int = 0
    answered: int = 0
    dead_lettered: int = 0
    labelled: int = 0
    correct: int = 0
    clock_errors: int = 0
    batched: int = 0
    requests: float = 0.0
    longest_us: int = 0
    stage_us: list[int] = field(default_factory=lambda: [0] * len(STAGES))
    stage_count: list[int] = field(default_factory=lambda: [0] * len(STAGES))
    latency: HdrHistogram = field(default_factory=lambda: HdrHistogram(1, LONGEST_US, DIGITS))


class Window:
    """Counts into the present second; each call first closes the seconds that are over.

    Times are seconds of a clock that never goes back.

    Attributes:
        history: the closed seconds, oldest first.
        summary: the figures of the last closed seconds; renewed once a second.
    """

    def __init__(self, now: float) -> None:
        self.history: deque[Point] = deque(maxlen=HISTORY_SECONDS)
        self.summary = Summary()
        self._second = int(now)
        self._open = _Second()
        self._closed: deque[_Second] = deque(maxlen=SUMMARY_SECONDS)

    def image(self, now: float) -> None:
        self.advance(now)
        self._open.images += 1

    def dead_letter(self, now: float) -> None:
        self.advance(now)
        self._open.dead_lettered += 1

    def answer(
        self,
        now: float,
        latency_us: int,
        stages_us: Sequence[int],
        batch_size: int,
        right: bool | None,
    ) -> None:
        """Count an answered image.

        Args:
            now: when it was received.
            latency_us: microseconds from the intended time until it was received; negative where
                clocks differ.
            stages_us: microseconds of each of `STAGES`.
            batch_size: images in the request that carried it.
            right: whether the best class is the true one; None: not known.
        """
        self.advance(now)
        second = self._open
        second.answered += 1
        if right is not None:
            second.labelled += 1
            second.correct += right
        if batch_size > 0:
            second.batched += 1
            # Each image of a request with b images counts as 1/b of a request.
            second.requests += 1 / batch_size
        for number, spent in enumerate(stages_us):
            if spent >= 0:
                second.stage_us[number] += spent
                second.stage_count[number] += 1
        if latency_us < 0:
            second.clock_errors += 1
            return
        second.latency.record_value(min(latency_us, LONGEST_US))
        second.longest_us = max(second.longest_us, latency_us)

    def advance(self, now: float) -> None:
        """Close the seconds that are over."""
        over = int(now) - self._second
        if over <= 0:
            return
        self._second += over
        # After a silence longer than the history, nothing older is left to show.
        for _ in range(min(over, HISTORY_SECONDS + 1)):
            self._close()
        self.summary = self._summarise()

    def _close(self) -> None:
        second, self._open = self._open, _Second()
        self._closed.append(second)
        percentiles = _percentiles(second.latency)
        self.history.append(
            Point(second.images, second.answered, second.dead_lettered, *percentiles)
        )

    def _summarise(self) -> Summary:
        seconds = self._closed
        latency = HdrHistogram(1, LONGEST_US, DIGITS)
        for second in seconds:
            latency.add(second.latency)
        p50, p90, p99 = _percentiles(latency)
        longest_us = max(second.longest_us for second in seconds)
        requests = sum(second.requests for second in seconds)
        return Summary(
            rate=sum(second.answered for second in seconds) / len(seconds),
            p50=p50,
            p90=p90,
            p99=p99,
            longest=None if p50 is None else longest_us / 1000,
            labelled=sum(second.labelled for second in seconds),
            correct=sum(second.correct for second in seconds),
            mean_request=sum(s.batched for s in seconds) / requests if requests else None,
            stages=tuple(_mean_stage(seconds, number) for number in range(len(STAGES))),
            clock_errors=sum(second.clock_errors for second in seconds),
        )


def _percentiles(latency: HdrHistogram) -> tuple[float | None, float | None, float | None]:
    if not latency.get_total_count():
        return None, None, None
    at = latency.get_percentile_to_value_dict(list(PERCENTILES))
    p50, p90, p99 = (at[percentile] / 1000 for percentile in PERCENTILES)
    return p50, p90, p99


def _mean_stage(seconds: deque[_Second], number: int) -> float | None:
    count = sum(second.stage_count[number] for second in seconds)
    spent = sum(second.stage_us[number] for second in seconds)
    return spent / count / 1000 if count else None
