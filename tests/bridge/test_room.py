"""What may be in flight: enough for Triton, whatever the size of the images."""

import pytest

from bridge.config import MIB
from bridge.room import ENCODED_BYTES, Room, room_for

PHOTO = 224 * 224 * 3


@pytest.mark.parametrize(
    ("batches", "max_batch", "pixel_bytes", "wanted"),
    [
        (4, 64, 32 * 32 * 3, Room(2048, 64 * MIB)),
        # A GPU: four batches in flight and four that come next, each image as bytes and as pixels.
        (4, 64, PHOTO, Room(2048, 2 * 4 * 64 * 2 * PHOTO)),
        (8, 128, PHOTO, Room(8192, 256 * MIB)),
        # Triton decodes photos, with 16 processes beside two instances of the network.
        (36, 20, 0, Room(5760, 2 * 36 * 20 * ENCODED_BYTES)),
    ],
)
def test_large_images_leave_no_slot_empty(
    batches: int, max_batch: int, pixel_bytes: int, wanted: Room
) -> None:
    assert room_for(batches, max_batch, pixel_bytes) == wanted


def test_the_settings_win() -> None:
    assert room_for(8, 128, PHOTO, images=10, size=20) == Room(10, 20)


def test_the_largest_image_fits() -> None:
    assert room_for(1, 1, PHOTO, largest=500 * MIB).size == 500 * MIB


def test_images_that_are_fetched_come_in_addition() -> None:
    assert room_for(1, 1, PHOTO, fetched=256).images == 8 + 256
