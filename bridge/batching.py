"""Batching without timers: images gather while Triton is busy and go when a slot frees.

A lone image goes at once; under load batches grow by themselves, up to the model's limit.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bridge.backoff import Backoff
from bridge.inference import InferenceError

T = TypeVar("T")

TAKEN_DOWN = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
"""gRPC statuses of a request whose server died or hangs."""
BUSY = ("RESOURCE_EXHAUSTED",)
"""gRPC statuses of a server that does not take a request now, or not one as large."""


@dataclass(slots=True)
class Suspect(Generic[T]):
    """A batch that was with the server alone when the server went away, or did not answer.

    Attributes:
        why: what the last request said.
        failures: requests of the same images that only they failed in.
        doubtful: it has failed, and no other request has been answered since: the server may have
            gone by itself.
    """

    batch: Sequence[T]
    why: InferenceError
    failures: int = 0
    doubtful: bool = True


class Batcher(Generic[T]):
    """Decides what goes to Triton next. Pure: the caller passes the time.

    An image may take the server down with it, or have the model say what is otherwise said of a
    server, and no error tells it from a server that went by itself. So a batch that was alone with
    a server that went goes behind the others, and is held against its images only once others, or
    a check, were answered after it; then it is halved, and the image that is left is the culprit.
    While the server is simply away nothing is answered, so nothing is held against anyone.

    Args:
        max_failures: requests in which an image alone may take the server down.

    Attributes:
        waiting: images ready to go, oldest first.
        in_flight: requests with Triton.
        parked: those of them that wait for one of several servers, to be tried there by themselves:
            nothing else waits for them. Any thread may set it.
        not_before: monotonic seconds; nothing is sent earlier (set after a transient failure).
    """

    def __init__(
        self,
        max_batch: int,
        max_inflight: int,
        retry_min_s: float = 0.1,
        retry_max_s: float = 5.0,
        rng: Callable[[], float] = random.random,
        max_failures: int = 5,
    ) -> None:
        self.max_batch = max_batch
        self.max_inflight = max_inflight
        self.waiting: deque[T] = deque()
        self.in_flight = 0
        self.parked = 0
        self.not_before = 0.0
        self._alone: deque[Sequence[T]] = deque()
        # Halved by each outage and doubled by each answer: a server too slow to answer a full
        # batch within the request's time is not asked for one for ever.
        self._size = max_batch
        self._backoff = Backoff(retry_min_s, retry_max_s, rng)
        self._max_failures = max_failures
        self._suspects: deque[Suspect[T]] = deque()
        self._culprits: list[Suspect[T]] = []
        self._tried: Suspect[T] | None = None
        """The suspect that is with the server now, with nothing beside it."""
        self._solo = False
        """Whether the request in flight has been the only one since it was sent."""
        self._careful = self._careful_sent = 0
        """Images that were with the server together when it went, to be sent one batch at a time,
        and how many of them are with it now."""
        self._answered = self._well = True
        """Whether the server has answered a request, or at least a check, since one last failed."""
        self._gone = False
        """Whether a check has failed since then."""
        self._asked = True
        """Whether there was a check since then: the first one goes at once, as a server that is
        started again may soon be back."""

    @property
    def idle(self) -> bool:
        """Whether no image waits, and none is with the server."""
        return not (self.waiting or self._alone or self._suspects or self.in_flight)

    @property
    def _active(self) -> int:
        return self.in_flight - self.parked

    @property
    def stalled(self) -> bool:
        """Whether images that wait for Triton cannot be finished just now."""
        only_parked = self.parked > 0 and self._active <= 0 and not self.waiting
        return not self.idle and (self.backing_off or only_parked)

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
        if self._active >= self.max_inflight or now < self.not_before or self._tried is not None:
            return None
        if (self.backing_off or self._careful) and self._active > 0:
            return None  # one request at a time probes a server that has just failed
        if self._suspects:
            if not self._well:
                return None  # a check says first whether the server is there
            if self._answered or not (self._alone or self.waiting):
                if self._active > 0:
                    return None
                self._tried = self._suspects.popleft()
                return self._sent(self._tried.batch)
        if self._alone:
            return self._sent(self._alone.popleft())
        if not self.waiting:
            return None
        if more and self._active > 0 and len(self.waiting) < self._size:
            return None
        size = min(self._size, len(self.waiting))
        return self._sent([self.waiting.popleft() for _ in range(size)], careful=size)

    def _sent(self, batch: Sequence[T], careful: int = 0) -> Sequence[T]:
        self._careful_sent = careful
        self._solo = self._active <= 0
        self.in_flight += 1
        return batch

    def wants_check(self, now: float) -> bool:
        """Whether a check has to find out if the server is there, before an image is sent again."""
        return (
            bool(self._suspects)
            and not (self._well or self._active > 0)
            and (now >= self.not_before or not self._asked)
        )

    def checked(self, now: float, *, well: bool) -> None:
        """A check was answered, or not."""
        self._asked = True
        if not well:
            self._gone = True
            if now >= self.not_before:
                self.not_before = now + self._backoff.next_wait()
            return
        # One that refuses only some requests, being busy, was well all the time.
        if self._gone:
            self._hold_against()
            self.not_before = 0.0
        self._well, self._gone = True, False
        if self.idle:
            self._backoff.reset()
            self.not_before = 0.0

    def succeeded(self, *, in_parts: bool = False) -> None:
        """A request was answered: its slot is free, the server is well.

        Args:
            in_parts: the batch was too much as a whole; the next ones are smaller.
        """
        self.in_flight -= 1
        self._tried = None
        self._careful = max(0, self._careful - self._careful_sent)
        self._backoff.reset()
        self.not_before = 0.0
        self._size = max(1, self._size // 2) if in_parts else min(self.max_batch, 2 * self._size)
        self._hold_against()
        self._answered = self._well = True
        self._gone = False

    def _hold_against(self) -> None:
        """The server is well without those that it went with."""
        suspects, self._suspects = self._suspects, deque()
        for one in suspects:
            if not one.doubtful:
                self._suspects.append(one)
                continue
            failures = one.failures + 1
            middle = len(one.batch) // 2
            if middle:
                for half in (one.batch[:middle], one.batch[middle:]):
                    self._suspects.append(Suspect(half, one.why, failures, doubtful=False))
            elif failures < self._max_failures:
                self._suspects.append(Suspect(one.batch, one.why, failures, doubtful=False))
            else:
                self._culprits.append(Suspect(one.batch, one.why, failures))

    def take_culprits(self) -> list[tuple[T, InferenceError, int]]:
        """Images that took the server down, each time alone: what was said, and how often."""
        culprits, self._culprits = self._culprits, []
        return [(one.batch[0], one.why, one.failures) for one in culprits]

    def discard(self, gone: Callable[[T], bool]) -> list[T]:
        """Take out of what waits the images that need no answer any more; returns them."""
        groups = [self.waiting, *self._alone, *(one.batch for one in self._suspects)]
        found = [item for group in groups for item in group if gone(item)]
        if found:
            self.waiting = deque(item for item in self.waiting if not gone(item))
            alone = ([item for item in batch if not gone(item)] for batch in self._alone)
            self._alone = deque(batch for batch in alone if batch)
            for one in self._suspects:
                one.batch = [item for item in one.batch if not gone(item)]
            self._suspects = deque(one for one in self._suspects if one.batch)
        return found

    def skip_while(self, gone: Callable[[T], bool]) -> None:
        """Take out of what waits the oldest images as long as they are gone."""
        while self.waiting and gone(self.waiting[0]):
            self.waiting.popleft()

    def refused(self, batch: Sequence[T]) -> None:
        """A request failed for what is in it: each half goes again by itself to find the culprit.

        A batch of one must not be given back: it is the culprit.
        """
        self.succeeded()
        middle = len(batch) // 2
        self._alone.extend((batch[:middle], batch[middle:]))

    def dropped(self) -> None:
        """A request was cancelled: its slot is free, which says nothing about the server."""
        self.in_flight -= 1
        self._tried = None

    def unavailable(self, batch: Sequence[T], now: float, why: InferenceError) -> float:
        """A request failed for reasons outside it, it seems: it goes again, after a wait.

        Returns:
            The wait in seconds.
        """
        self.in_flight -= 1
        self._answered = self._well = self._asked = False
        if self._tried is not None:
            self._tried.batch, self._tried.why = batch, why
            self._tried.doubtful = why.status not in BUSY
            self._suspects.append(self._tried)
            self._tried = None
        elif why.status in BUSY:
            if self._solo and len(batch) == 1 and self._backoff.failures:
                self.waiting.append(batch[0])  # it may be that image alone that is too much
            else:
                self._careful += 0 if self._solo else len(batch)
                self.waiting.extendleft(reversed(batch))
        elif self._solo and self._active <= 0:
            self._careful = max(0, self._careful - self._careful_sent)
            self._suspect(batch, why)
        else:
            self._careful += len(batch)
            self.waiting.extendleft(reversed(batch))
        if now < self.not_before:
            return self.not_before - now  # several requests of one outage are one failure
        wait = self._backoff.next_wait()
        self.not_before = now + wait
        self._size = max(1, self._size // 2)
        return wait

    def _suspect(self, batch: Sequence[T], why: InferenceError) -> None:
        # Two batches that are no suspects yet, and fail one after the other: it is the server.
        kept: deque[Suspect[T]] = deque()
        for one in self._suspects:
            one.doubtful = False
            if one.failures:
                kept.append(one)
            else:
                self.waiting.extend(one.batch)
        self._suspects = kept
        self._suspects.append(Suspect(batch, why))
