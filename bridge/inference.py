"""What the pipeline needs of an inference server, and how a request to it can fail."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from imaging.rules import ImageError, Pixels
from wire.prediction import ScoredLabel


class Failure(Enum):
    """What a failed request says about trying again."""

    TRANSIENT = "transient"
    """Nothing about the images: try again for ever."""
    INVALID = "invalid"
    """Something in the batch can never succeed."""
    INTERNAL = "internal"
    """The model failed: perhaps on an image, perhaps by itself; try a bounded number of times."""


_FAILURES = {
    "INVALID_ARGUMENT": Failure.INVALID,
    "INTERNAL": Failure.INTERNAL,
    "UNKNOWN": Failure.INTERNAL,
}


class InferenceError(Exception):
    """A request that was not answered.

    Attributes:
        status: gRPC status name, such as UNAVAILABLE.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        # All else (UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, NOT_FOUND while a model
        # is reloaded, UNAUTHENTICATED while a certificate is renewed...) may pass.
        self.failure = _FAILURES.get(status, Failure.TRANSIENT)


Top = tuple[ScoredLabel, ...] | ImageError


@dataclass(frozen=True, slots=True)
class Answer:
    """A batch's classes, in the batch's order.

    Attributes:
        version: the model version that answered.
        tops: for each image its k best classes, best first; or why the model can never use it.
    """

    version: str
    tops: Sequence[Top]


Done = Callable[[Answer | InferenceError], None]
"""Called once for each request, on a thread of the client's: it may only enqueue."""
Checked = Callable[[InferenceError | None], None]
"""Called once for each check, with why the model does not answer; likewise it may only enqueue."""


class Sends(Protocol):
    """What takes batches."""

    def infer(
        self, images: Sequence[Pixels | bytes], done: Done, traceparent: str | None = None
    ) -> None:
        """Send one batch of at most `max_batch` images; returns at once.

        Args:
            traceparent: the server's own spans, where it makes any, continue this one.

        Raises:
            Exception: no request can be made of these images; `done` is not called.
        """
        ...

    def close(self) -> None: ...


class Inference(Sends, Protocol):
    """An inference server, or several, as the pipeline sees it."""

    def check(self, done: Checked) -> None:
        """Ask, at little cost and without an image, whether the model answers; returns at once."""
        ...
