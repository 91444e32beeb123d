"""Batching without timers: images wait while Triton is busy, and are sent when a slot is free.

A single image is sent at once; under load, batches grow by themselves up to the model's limit.
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
"""gRPC statuses of a request whose server has died or hangs."""
BUSY = ("RESOURCE_EXHAUSTED",)
"""gRPC statuses of a server that accepts no request now, or none of that size."""


@dataclass(slots=True)
class Suspect(Generic[T]):
    """A batch that was the server's only one when the server went away or did not answer.

    Attributes:
        why: the error of the last request.
        failures: requests that failed while only these images were with the server.
        doubtful: the last request failed, and no other request has been answered since: the server
            may have gone away for another reason.
    """

    batch: Sequence[T]
    why: InferenceError
    failures: int = 0
    doubtful: bool = True


class Batcher(Generic[T]):
    """Decides what goes to Triton next. Pure: the caller passes the time.

    An image may take the server down, or make the model report an error that otherwise means that
    the server is away; no error tells this apart from a server that went away for another reason.
    So a batch that was alone with a server when it went away is put behind the others. It counts
    as a failure of these images only once other images, or a check, were answered after it; then
    the batch is halved, and the single image that is left in the end is the culprit. While the
    server is simply away nothing is answered, so no image is blamed.

    Args:
        max_failures: requests in which a single image may take the server down.

    Attributes:
        waiting: images ready to go, oldest first.
        in_flight: requests that were sent to Triton and not answered yet.
        parked: requests in flight that the pool of several servers keeps until they can be tried
            alone on one of them; nothing else waits for them. Any thread may set it.
        not_before: monotonic seconds before which nothing is sent; set after a transient failure.
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
        # Halved by each outage and doubled by each answer: a server that is too slow to answer a
        # full batch before the timeout must not be sent full batches for ever.
        self._size = max_batch
        self._backoff = Backoff(retry_min_s, retry_max_s, rng)
        self._max_failures = max_failures
        self._suspects: deque[Suspect[T]] = deque()
        self._culprits: list[Suspect[T]] = []
        self._tried: Suspect[T] | None = None
        """The suspect that is with the server now; no other request is."""
        self._solo = False
        """Whether the request in flight has been the only one since it was sent."""
        self._careful = self._careful_sent = 0
        """`_careful`: images that were with the server together when it went away, and are now sent
        one batch at a time. `_careful_sent`: how many of them are with the server now."""
        self._answered = self._well = True
        """`_answered`: whether a request was answered since one last failed; `_well`: whether a
        request or at least a check was."""
        self._gone = False
        """Whether a check has failed since a request last failed."""
        self._asked = True
        """Whether there was a check since a request last failed. The first check is sent at once,
        as a server that is restarted may soon be back."""

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
        """The batch to send now, counted as in flight; None while there is no batch or no free
        slot.

        Args:
            now: monotonic seconds.
            more: whether more images are about to be added; while the server has work, a batch that
                is not full waits for them.
        """
        if self._active >= self.max_inflight or now < self.not_before or self._tried is not None:
            return None
        if (self.backing_off or self._careful) and self._active > 0:
            return None  # one request at a time probes a server that has just failed
        if self._suspects:
            if not self._well:
                return None  # first, a check has to show whether the server is there
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
        """Whether a check must find out whether the server is there before an image is sent
        again."""
        return (
            bool(self._suspects)
            and not (self._well or self._active > 0)
            and (now >= self.not_before or not self._asked)
        )

    def checked(self, now: float, *, well: bool) -> None:
        """Note the result of a check; `well`: it was answered."""
        self._asked = True
        if not well:
            self._gone = True
            if now >= self.not_before:
                self.not_before = now + self._backoff.next_wait()
            return
        # A busy server that refuses only some requests was well all the time.
        if self._gone:
            self._hold_against()
            self.not_before = 0.0
        self._well, self._gone = True, False
        if self.idle:
            self._backoff.reset()
            self.not_before = 0.0

    def succeeded(self, *, in_parts: bool = False) -> None:
        """Note that a request was answered: its slot is free, and the server is well.

        Args:
            in_parts: whether the batch was too much as a whole; the next batches are smaller.
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
        """Count a failure against each suspect, as the server is well without them."""
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
        """Images that took the server down, each while it was alone: the image, the last error, and
        the number of failures."""
        culprits, self._culprits = self._culprits, []
        return [(one.batch[0], one.why, one.failures) for one in culprits]

    def discard(self, gone: Callable[[T], bool]) -> list[T]:
        """Take the images that need no answer any more out of what waits; returns them."""
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
        """Remove the oldest waiting images for as long as `gone` says that they are gone."""
        while self.waiting and gone(self.waiting[0]):
            self.waiting.popleft()

    def refused(self, batch: Sequence[T]) -> None:
        """Note that a request failed because of its images: each half is sent alone to find the
        culprit.

        Must not be called with a batch of one image: that image is the culprit.
        """
        self.succeeded()
        middle = len(batch) // 2
        self._alone.extend((batch[:middle], batch[middle:]))

    def dropped(self) -> None:
        """Note that a request was cancelled: its slot is free; this says nothing about the
        server."""
        self.in_flight -= 1
        self._tried = None

    def unavailable(self, batch: Sequence[T], now: float, why: InferenceError) -> float:
        """Note that a request seems to have failed for reasons outside it: it is sent again later.

        Returns:
            The time to wait, in seconds.
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
                self.waiting.append(batch[0])  # this image alone may be too large for the server
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
            return self.not_before - now  # several failed requests of one outage count as one
        wait = self._backoff.next_wait()
        self.not_before = now + wait
        self._size = max(1, self._size // 2)
        return wait

    def _suspect(self, batch: Sequence[T], why: InferenceError) -> None:
        # Two batches that were no suspects before, and fail one after the other, point to the
        # server.
        kept: deque[Suspect[T]] = deque()
        for one in self._suspects:
            one.doubtful = False
            if one.failures:
                kept.append(one)
            else:
                self.waiting.extend(one.batch)
        self._suspects = kept
        self._suspects.append(Suspect(batch, why))
