"""What the pipeline needs from an inference server, and how a request to it can fail."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from bridge.tasks.task import Result
from imaging.rules import ImageError, Input, Size


class Failure(Enum):
    """What a failed request means for trying again."""

    TRANSIENT = "transient"
    """It says nothing about the images: try again for ever."""
    INVALID = "invalid"
    """Something in the batch can never succeed."""
    INTERNAL = "internal"
    """The model failed, perhaps because of an image: try a bounded number of times."""


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
        # All other statuses may pass: UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, NOT_FOUND
        # while a model is reloaded, UNAUTHENTICATED while a certificate is renewed, and so on.
        self.failure = _FAILURES.get(status, Failure.TRANSIENT)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a batch, in the batch's order.

    Attributes:
        version: the model version that answered.
        results: for each image, its result, or the error for which the model can never use it or
            its answer cannot be used.
        in_parts: whether the batch was not answered as a whole, but in parts.
    """

    version: str
    results: Sequence[Result | ImageError]
    in_parts: bool = False


Done = Callable[[Answer | InferenceError], None]
"""Called once for each request, on a thread of the client; it may only enqueue."""
Checked = Callable[[InferenceError | None], None]
"""Called once for each check, with the reason why the model does not answer, or None; it may only
enqueue."""


class Sends(Protocol):
    """Something that batches can be sent to."""

    def infer(
        self,
        images: Sequence[Input],
        done: Done,
        traceparent: str | None = None,
        sizes: Sequence[Size | None] = (),
    ) -> None:
        """Send one batch of at most `max_batch` images; returns at once.

        Args:
            done: called once with the answer or the error.
            traceparent: the trace context that the server's own spans continue, if it makes any.
            sizes: widths and heights of the original images; empty, or None for an image: it came
                in the model's size.

        Raises:
            Exception: no request can be made from these images; `done` is not called.
        """
        ...


class Inference(Sends, Protocol):
    """An inference server, or several, as the pipeline sees it."""

    def check(self, done: Checked) -> None:
        """Find out cheaply, without an image, whether the model answers; returns at once."""
        ...
