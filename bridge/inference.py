"""What the pipeline needs of an inference server, and how a request to it can fail."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from bridge.tasks.task import Result
from imaging.rules import ImageError, Input, Size


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


@dataclass(frozen=True, slots=True)
class Answer:
    """What a batch was answered, in the batch's order.

    Attributes:
        version: the model version that answered.
        results: of each image; or why the model can never use it, or its answer not be used.
        in_parts: the batch as a whole was not answered.
    """

    version: str
    results: Sequence[Result | ImageError]
    in_parts: bool = False


Done = Callable[[Answer | InferenceError], None]
"""Called once for each request, on a thread of the client's: it may only enqueue."""
Checked = Callable[[InferenceError | None], None]
"""Called once for each check, with why the model does not answer; likewise it may only enqueue."""


class Sends(Protocol):
    """What takes batches."""

    def infer(
        self,
        images: Sequence[Input],
        done: Done,
        traceparent: str | None = None,
        sizes: Sequence[Size | None] = (),
    ) -> None:
        """Send one batch of at most `max_batch` images; returns at once.

        Args:
            traceparent: the server's own spans, where it makes any, continue this one.
            sizes: of the images that these inputs were made of; left out, or None: they came as
                they are.

        Raises:
            Exception: no request can be made of these images; `done` is not called.
        """
        ...


class Inference(Sends, Protocol):
    """An inference server, or several, as the pipeline sees it."""

    def check(self, done: Checked) -> None:
        """Ask, at little cost and without an image, whether the model answers; returns at once."""
        ...
