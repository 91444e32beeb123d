"""How much the bridge may hold at a time: enough to keep Triton busy. Pure."""

from typing import NamedTuple

from bridge.config import MIB

BUFFERED_BATCHES = 8
"""Batches that may be in flight for each request that Triton may have: one is being answered, one
waits, two are being received or decoded, and as many again are being published or are in a
transaction."""
HELD_BATCHES = 2
"""Batches for each of those requests whose bytes must have room: the one that is being answered,
and the next one. With less, large images leave Triton idle: 64 MiB held 5 batches of 128 photos, so
that 5 of 16 decoding processes worked."""
LEAST_BYTES, MOST_BYTES = 64 * MIB, 256 * MIB
"""Bounds on what is chosen where the settings name no number of bytes."""
ENCODED_BYTES = 128 << 10
"""Expected bytes of an encoded image that Triton decodes; a photo of 500x375 has 100 kB."""


class Room(NamedTuple):
    """Bounds on what is in flight.

    Attributes:
        images: number of images.
        size: their bytes.
    """

    images: int
    size: int


def room_for(
    batches: int,
    max_batch: int,
    pixel_bytes: int,
    *,
    images: int = 0,
    size: int = 0,
    largest: int = 0,
    fetched: int = 0,
) -> Room:
    """Room for so many requests to Triton at a time.

    Args:
        batches: requests that Triton may have at a time.
        pixel_bytes: bytes of an image as the model's input; 0: Triton decodes it.
        images, size: bounds that the settings name; 0: none.
        largest: bytes of the largest image that is allowed.
        fetched: images in addition to those, which are being fetched.
    """
    # An image that the bridge decodes is held twice: its message, and its pixels.
    each = 2 * pixel_bytes or ENCODED_BYTES
    wanted = HELD_BATCHES * max_batch * batches * each
    return Room(
        images or BUFFERED_BATCHES * max_batch * batches + fetched,
        size or max(largest, min(MOST_BYTES, max(LEAST_BYTES, wanted))),
    )
