"""Finds out which image takes servers down, if any does, by trying suspect batches. Pure.

A server may have gone away for another reason. So each suspect batch is tried alone on one server,
and halved each time that the server goes down with it. Once an image is caught, the batches that
were merely beside it are free. While a server that went down is awaited, no other is put at risk.
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
"""Seconds for a server that went down with a suspect to come back before another one is risked."""

Best = Callable[[Container[str]], str | None]
"""Returns the least busy server that is not among these; None: there is none."""


@dataclass(eq=False, slots=True)
class Suspect:
    """A batch, or a part of one, that a server had when it went down.

    Attributes:
        batch: the whole batch, as the pipeline sent it.
        went: the server that went down while it also had others, and that server's epoch then.
        why: the error of its last request.
        failures: requests in which it was alone with a server that went down.
        tried_on: the server of its last request alone.
        doubtful: that request failed; it counts as a failure if that server really was away.
    """

    call: Call
    batch: Call
    went: tuple[str, int]
    why: InferenceError
    failures: int = 0
    tried_on: str | None = None
    doubtful: bool = False


class Trials:
    """Decides which suspect is tried next, and where; the pool sends it and reports the result.

    Args:
        clock: returns monotonic seconds.
        max_failures: requests of a single image alone in which a server may go down.

    Attributes:
        server: the server on which suspects are tried now.
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
        """Whether a batch is being tried, or waits to be."""
        return bool(self._waiting) or self._tried is not None

    @property
    def trying(self) -> bool:
        """Whether a suspect is with the server now."""
        return self._tried is not None

    @property
    def waiting(self) -> int:
        """Number of the pipeline's batches that wait here and are with no server."""
        batches = {id(one.batch) for one in self._waiting}
        if self._tried is not None:
            batches.discard(id(self._tried.batch))
        return len(batches)

    def add(self, call: Call, server: str, epoch: int, why: InferenceError) -> None:
        """Add a batch that a server had when it went down."""
        self._waiting.append(Suspect(call, call, (server, epoch), why))

    def place(self, well: Container[str], best: Best) -> str | None:
        """The server for the next trial; None: there is no trial to make, or no server for it."""
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
        """The next batch to send to `server` alone; None: all have been tried."""
        if not self._waiting:
            self.server = self._went_at = None
            return None
        self._tried = self._waiting.popleft()
        return self._tried.call

    def end(self, call: Call) -> Suspect | None:
        """The suspect of a request that has ended; None where it was no trial."""
        if self._tried is None or self._tried.call is not call:
            return None
        ended, self._tried = self._tried, None
        return ended

    def again(self, one: Suspect) -> None:
        """Put back a suspect that could not be sent."""
        self._waiting.appendleft(one)

    def failed(self, one: Suspect, why: InferenceError) -> None:
        """Note that a trial failed; `judge` decides what that means once the server is back."""
        one.why, one.doubtful, one.tried_on = why, True, self.server
        if why.failure is Failure.TRANSIENT:
            self._went_at = self._clock()
        self._waiting.appendleft(one)

    def forget(self, server: str) -> None:
        """Stop waiting for a server that is no longer one of the addresses."""
        if server == self.server:
            self._went_at = None

    def judge(self, *, gone: bool) -> list[Call]:
        """Decide whether the last failure counts against the suspect that was tried, if any was.

        Args:
            gone: whether `server` was really away since then; a server that is merely busy also
                says UNAVAILABLE. If another server is used now, the first one did not come back.

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
    """Joins the answers to the two halves of a batch."""

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
    """Answer for the image that was caught: no server can ever answer it."""
    message = str(one.why)
    if one.why.failure is Failure.TRANSIENT:
        log.warning("image_takes_triton_down", status=one.why.status, requests=one.failures)
        message = (
            f"Triton went away {one.failures} times when it had this image, with fewer others each "
            f"time and at last alone, and answered others after it; the last time: {one.why}"
        )
    one.call.done(Answer("", [AnswerError(one.why.status, message)]))
