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
    """What an image became, and where that goes.

    Attributes:
        instead: gives what goes in its place where Kafka refuses it for what it is; it is called
            with the class of the refusal, such as too_large, on any thread; None: nothing does.
        reason: stage and class of a dead letter; None: it is a prediction.
        silent: nothing is published: the image is dropped for that reason, and its offset counts.
    """

    topic: str
    record: Outgoing
    instead: "Callable[[str], Publication | None] | None" = None
    reason: Reason | None = None
    silent: bool = False


NOTHING = Publication("", Outgoing(None, None, []), reason=SKIPPED, silent=True)
"""What a record becomes that has no image, and needs no answer: it is not published."""


@dataclass(slots=True)
class ReceivedRecord:
    """A record taken.

    Attributes:
        record: of one of several images that a record refers to: a message about it alone.
        key: what its tracker knows it by.
        received_ns: when Kafka's client handed it over; epoch nanoseconds.
        span: where it is traced.
        id: of the image, where the record's key and headers do not say it.
        fetched: bytes that were fetched for it and are still held.
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
        array: what the model takes.
        decoded_ns: when it was decoded; epoch nanoseconds.
        size: of the image; None: what came is what the model takes.
        attempts: requests that carried it and failed for reasons that may lie in it.
    """

    arrival: ReceivedRecord
    event: ImageEvent
    array: Input
    decoded_ns: int
    size: Size | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """What became of a request to Triton; times are epoch nanoseconds.

    Attributes:
        call: where it is traced.
    """

    batch: Sequence[DecodedImage]
    requested_ns: int
    inferred_ns: int
    result: Answer | InferenceError
    call: "Span | None" = None
