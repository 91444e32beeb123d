"""One image on its way through the bridge, and the requests that carry it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bridge.accounts import SKIPPED, Reason
from bridge.inference import Answer, InferenceError
from bridge.kafka.offsets import Key, PartitionTracker
from imaging.rules import Input, Size
from wire.image import ImageEvent
from wire.record import Outgoing, StoredRecord

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Publication(NamedTuple):
    """What an image became, and where it is published.

    Attributes:
        instead: returns what is published in its place if Kafka refuses the record for what it is.
            It is called on any thread with the class of the refusal, such as too_large. None:
            nothing can take its place.
        reason: stage and class of a dead letter; None: it is a prediction.
        silent: nothing is published: the image is dropped for `reason`, and its offset counts.
    """

    topic: str
    record: Outgoing
    instead: "Callable[[str], Publication | None] | None" = None
    reason: Reason | None = None
    silent: bool = False


NOTHING = Publication("", Outgoing(None, None, []), reason=SKIPPED, silent=True)
"""The publication of a record that has no image and needs no answer: nothing is published."""


@dataclass(slots=True)
class ReceivedRecord:
    """A record that was taken from Kafka.

    Attributes:
        record: the record; for one of several images that a record refers to, a message about that
            image alone.
        key: its key in its tracker.
        received_ns: when Kafka's client handed it over; epoch nanoseconds.
        span: the span of its trace; None: it is not traced.
        id: the image's id, where the record's key and headers do not give it.
        fetched: number of bytes that were fetched for it and are still held.
    """

    record: StoredRecord
    tracker: PartitionTracker[Publication]
    key: Key
    received_ns: int
    span: "Span | None" = None
    id: str | None = None
    fetched: int = 0


@dataclass(slots=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        array: the model's input for this image.
        decoded_ns: when it was decoded; epoch nanoseconds.
        size: width and height of the original image; None: the image came as the model takes it.
        attempts: failed requests that carried it and whose failure may lie in it.
    """

    arrival: ReceivedRecord
    event: ImageEvent
    array: Input
    decoded_ns: int
    size: Size | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """A request to Triton that has ended; times are epoch nanoseconds.

    Attributes:
        call: the span of the request; None: it is not traced.
    """

    batch: Sequence[DecodedImage]
    requested_ns: int
    inferred_ns: int
    result: Answer | InferenceError
    call: "Span | None" = None
