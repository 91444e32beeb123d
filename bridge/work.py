"""One image on its way through the bridge."""

from dataclasses import dataclass
from typing import NamedTuple

from bridge.images import Pixels
from bridge.offsets import PartitionTracker
from wire.image import ImageEvent
from wire.record import KafkaRecord, Outgoing


class Publication(NamedTuple):
    """What an image became, and where that goes."""

    topic: str
    record: Outgoing


@dataclass(slots=True)
class Arrival:
    """A record taken in hand.

    Attributes:
        received_ns: when Kafka's client handed it over; epoch nanoseconds.
    """

    record: KafkaRecord
    tracker: PartitionTracker[Publication]
    offset: int
    received_ns: int


@dataclass(slots=True)
class Work:
    """A decoded image.

    Attributes:
        pixels: uint8 [height, width, channels], or the encoded image where the model takes that.
        decoded_ns: when it was decoded; epoch nanoseconds.
        attempts: requests that carried it and failed for reasons that may lie in it.
    """

    arrival: Arrival
    event: ImageEvent
    pixels: Pixels | bytes
    decoded_ns: int
    attempts: int = 0
