"""Batches that a server went down with: which of their images takes it down, if any does. Pure.

A server may have gone by itself, so each of them is tried: on one server, by itself, halved each
time that the server goes down with it. Once one is caught, those that merely were beside it are
free. While a server that went is awaited, no other is put at risk.
"""

from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass

import structlog

from bridge.batching import TAKEN_DOWN
from bridge.inference import Answer, Failure, InferenceError
from bridge.tasks.task import AnswerError
from bridge.triton.member import Call

log = structlog.get_logger()

AWAITED_S = 120.0
"""A server that went down with a suspect has that long to come back before another is risked."""

Best = Callable[[Container[str]], str | None]
"""The server with the least to do that is not among these; None: there is none."""


@dataclass(eq=False, slots=True)
class Suspect:
    """A batch, or a part of one, that a server went down with.

    Attributes:
        batch: the whole, as the pipeline gave it.
        went: the server that went when it had others beside it, and that server's epoch then.
        why: how its last request failed.
        failures: requests of it alone in which a server went down.
        tried_on: the server of its last request alone.
        doubtful: that request failed; it was one of them, if that server really was gone.
    """

    call: Call
    batch: Call
    went: tuple[str, int]
    why: InferenceError
    failures: int = 0
    tried_on: str | None = None
    doubtful: bool = False


class Trials:
    """Who is tried next, and where; the pool sends, and tells what came of it.

    Args:
        clock: monotonic seconds.
        max_failures: requests of one image alone in which a server may go down.

    Attributes:
        server: where suspects are tried now.
    """

    def __init__(self, clock: Callable[[], float], max_failures: int) -> None:
        self.server: str | None = None
        self._clock = clock
        self._max_failures = max_failures
        self._waiting: deque[Suspect] = deque()
        self._tried: Suspect | None = None
        self._went_at: float | None = None

    @property
    def pending(self) -> bool:
        """Whether a batch is tried, or waits for that."""
        return bool(self._waiting) or self._tried is not None

    @property
    def trying(self) -> bool:
        """Whether one is with the server now."""
        return self._tried is not None

    @property
    def waiting(self) -> int:
        """Batches of the pipeline's that are with no server."""
        batches = {id(one.batch) for one in self._waiting}
        if self._tried is not None:
            batches.discard(id(self._tried.batch))
        return len(batches)

    def add(self, call: Call, server: str, epoch: int, why: InferenceError) -> None:
        """A server went down that had this batch."""
        self._waiting.append(Suspect(call, call, (server, epoch), why))

    def place(self, well: Container[str], best: Best) -> str | None:
        """The server for the next trial; None: there is none to make, or none to make it on."""
        if self._tried is not None:
            return self.server if self.server in well else None
        if self._waiting and self.server not in well and not self._awaited:
            self._went_at = None
            self.server = best(self._waiting[0].call.tried) or best(())
        return self.server if self.server in well else None

    @property
    def _awaited(self) -> bool:
        return self._went_at is not None and self._clock() - self._went_at < AWAITED_S

    def begin(self) -> Call | None:
        """The next one to be sent to `server`, with nothing beside it; None: all are tried."""
        if not self._waiting:
            self.server = self._went_at = None
            return None
        self._tried = self._waiting.popleft()
        return self._tried.call

    def end(self, call: Call) -> Suspect | None:
        """A request has ended; what it was a trial of, None where it was none."""
        if self._tried is None or self._tried.call is not call:
            return None
        ended, self._tried = self._tried, None
        return ended

    def again(self, one: Suspect) -> None:
        """It was not sent."""
        self._waiting.appendleft(one)

    def failed(self, one: Suspect, why: InferenceError) -> None:
        """A trial failed; `judge` says what that means, once the server is back."""
        one.why, one.doubtful, one.tried_on = why, True, self.server
        if why.failure is Failure.TRANSIENT:
            self._went_at = self._clock()
        self._waiting.appendleft(one)

    def forget(self, server: str) -> None:
        """It is no longer one of the servers: nobody waits for it."""
        if server == self.server:
            self._went_at = None

    def judge(self, *, gone: bool) -> list[Call]:
        """Hold the last failure against the one that was tried, if there was one.

        Args:
            gone: whether `server` was really away since; one that is merely busy says UNAVAILABLE,
                too. Of another one it is known: that one did not come back.

        Returns:
            The batches that are free of suspicion.
        """
        if not (self._waiting and self._waiting[0].doubtful):
            return []
        one = self._waiting.popleft()
        one.doubtful = False
        gone |= one.tried_on != self.server
        transient = one.why.failure is Failure.TRANSIENT
        busy = one.why.status not in TAKEN_DOWN or (one.why.status == "UNAVAILABLE" and not gone)
        if transient and busy:
            self._waiting.append(one)
            return []
        one.failures += 1
        free = [
            other.call for other in self._waiting if other.went == one.went and not other.failures
        ]
        self._waiting = deque(other for other in self._waiting if other.call not in free)
        if len(one.call.images) > 1:
            self._halve(one)
        elif one.failures < self._max_failures and one.why.failure is not Failure.INVALID:
            self._waiting.append(one)
        else:
            _condemn(one)
        return free

    def _halve(self, one: Suspect) -> None:
        call, middle = one.call, len(one.call.images) // 2
        halves = _Halves(call)
        for place, part in enumerate((slice(middle), slice(middle, None))):
            half = Call(
                call.images[part], halves.take(place), call.traceparent, call.sizes[part],
                tried=set(call.tried),
            )  # fmt: skip
            self._waiting.append(Suspect(half, one.batch, one.went, one.why, one.failures))


class _Halves:
    """Puts the answers to the halves of a batch together."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._results: dict[int, Answer | InferenceError] = {}

    def take(self, place: int) -> Callable[[Answer | InferenceError], None]:
        def done(result: Answer | InferenceError) -> None:
            self._results[place] = result
            if len(self._results) == 2:
                self._call.done(self._together())

        return done

    def _together(self) -> Answer | InferenceError:
        first, second = self._results[0], self._results[1]
        if isinstance(first, InferenceError):
            return first
        if isinstance(second, InferenceError):
            return second
        return Answer(
            first.version or second.version, [*first.results, *second.results], in_parts=True
        )


def _condemn(one: Suspect) -> None:
    """Answer for the image that was found: it is the only one of its kind that can never be."""
    message = str(one.why)
    if one.why.failure is Failure.TRANSIENT:
        log.warning("image_takes_triton_down", status=one.why.status, requests=one.failures)
        message = (
            f"Triton went away {one.failures} times when it had this image, with fewer others each "
            f"time and at last alone, and answered others after it; the last time: {one.why}"
        )
    one.call.done(Answer("", [AnswerError(one.why.status, message)]))
