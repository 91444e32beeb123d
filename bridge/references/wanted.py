"""The requests to the fetcher, and its replies."""

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
    """The result of a fetch: bytes, the error, or None if nobody needs the image any more."""

    wanted: Wanted
    result: bytes | Exception | None
