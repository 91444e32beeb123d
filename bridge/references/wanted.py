"""What is asked of the fetcher, and what it gives back."""

from dataclasses import dataclass

from bridge.images import ReceivedRecord
from wire.image import ImageEvent
from wire.reference import Reference


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """An image whose bytes have to be fetched."""

    arrival: ReceivedRecord
    event: ImageEvent
    reference: Reference


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of it: its bytes, why there are none, or None: nobody needs them any more."""

    wanted: Wanted
    result: bytes | Exception | None
