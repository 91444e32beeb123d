"""Batching without timers: images gather while Triton is busy and go when a slot frees.

A lone image goes at once; under load batches grow by themselves, up to the model's limit.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Backoff:
    """Exponential waits with jitter, so that bridges do not all come back at one moment."""

    def __init__(self, minimum_s: float, maximum_s: float, rng: Callable[[], float]) -> None:
        self._minimum_s = minimum_s
        self._maximum_s = maximum_s
        self._rng = rng
        self.failures = 0

    def next_wait(self) -> float:
        """Seconds to wait after one more failure: half fixed, half random."""
        # The exponent is bounded so that a day of failures does not overflow a float.
        ceiling = min(self._maximum_s, self._minimum_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return ceiling * (0.5 + 0.5 * self._rng())

    def reset(self) -> None:
        self.failures = 0


class Batcher(Generic[T]):
    """Decides what goes to Triton next. Pure: the caller passes the time.

    Attributes:
        waiting: images ready to go, oldest first.
        in_flight: requests with Triton.
        not_before: monotonic seconds; nothing is sent earlier (set after a transient failure).
    """

    def __init__(
        self,
        max_batch: int,
        max_inflight: int,
        retry_min_s: float = 0.1,
        retry_max_s: float = 5.0,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.max_batch = max_batch
        self.max_inflight = max_inflight
        self.waiting: deque[T] = deque()
        self.in_flight = 0
        self.not_before = 0.0
        self._alone: deque[Sequence[T]] = deque()
        # Halved by each outage and doubled by each answer: a server too slow to answer a full
        # batch within the request's time is not asked for one for ever.
        self._size = max_batch
        self._backoff = Backoff(retry_min_s, retry_max_s, rng)

    @property
    def idle(self) -> bool:
        return not (self.waiting or self._alone or self.in_flight)

    @property
    def backing_off(self) -> bool:
        """True from a transient failure until the next success."""
        return self._backoff.failures > 0

    def add(self, item: T) -> None:
        self.waiting.append(item)

    def next_batch(self, now: float, *, more: bool = False) -> Sequence[T] | None:
        """The batch to send now, counted as in flight; None while there is none, or no slot.

        Args:
            now: monotonic seconds.
            more: others are about to be added; while the server has work, a batch that is not full
                waits for them.
        """
        if self.in_flight >= self.max_inflight or now < self.not_before:
            return None
        if self.backing_off and self.in_flight:
            return None  # one request at a time probes a server that has just failed
        if self._alone:
            self.in_flight += 1
            return self._alone.popleft()
        if not self.waiting:
            return None
        if more and self.in_flight and len(self.waiting) < self._size:
            return None
        self.in_flight += 1
        size = min(self._size, len(self.waiting))
        return [self.waiting.popleft() for _ in range(size)]

    def succeeded(self) -> None:
        """A request was answered: its slot is free, the server is well."""
        self.in_flight -= 1
        self._backoff.reset()
        self.not_before = 0.0
        self._size = min(self.max_batch, 2 * self._size)

    def refused(self, batch: Sequence[T]) -> None:
        """A request failed for what is in it: each half goes again by itself to find the culprit.

        A batch of one must not be given back: it is the culprit.
        """
        self.succeeded()
        middle = len(batch) // 2
        self._alone.extend((batch[:middle], batch[middle:]))

    def recovered(self) -> None:
        """The server is well, says a check; the next requests need not find that out one by one."""
        self._backoff.reset()
        self.not_before = 0.0

    def dropped(self) -> None:
        """A request was cancelled: its slot is free, which says nothing about the server."""
        self.in_flight -= 1

    def unavailable(self, batch: Sequence[T], now: float) -> float:
        """A request failed for reasons outside it: it goes again, first, after a wait.

        Returns:
            The wait in seconds.
        """
        self.in_flight -= 1
        self.waiting.extendleft(reversed(batch))
        if now < self.not_before:
            return self.not_before - now  # several requests of one outage are one failure
        wait = self._backoff.next_wait()
        self.not_before = now + wait
        self._size = max(1, self._size // 2)
        return wait
