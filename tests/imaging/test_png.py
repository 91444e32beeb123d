"""The fast way decodes what Pillow decodes, to the same pixels, and leaves all else to it."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imaging.png import plain_png

PIXELS = np.random.default_rng(7).integers(0, 256, (32, 32, 3), np.uint8)


def png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", **options)
    return out.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return png(PIXELS, exif=exif)


def test_a_plain_png_arrives_to_the_bit() -> None:
    found = plain_png(png(PIXELS), 32, 32)
    assert found is not None
    assert np.array_equal(found, PIXELS)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        png(PIXELS)[:20],
        png(PIXELS)[:1500],
        png(PIXELS[:, :, 0]),
        png(np.concatenate([PIXELS, PIXELS], axis=1)),
        png(PIXELS, save_all=True, append_images=[Image.fromarray(255 - PIXELS)]),
        rotated(),
        b"GIF89a" + bytes(100),
    ],
    ids=["empty", "head", "truncated", "grey", "larger", "animated", "rotated", "other"],
)
def test_any_other_image_is_left_to_the_general_decoder(value: bytes) -> None:
    assert plain_png(value, 32, 32) is None


@given(st.data())
def test_a_damaged_png_never_becomes_other_pixels_than_pillow_reads(data: st.DataObject) -> None:
    value = bytearray(png(PIXELS))
    place = data.draw(st.integers(0, len(value) - 1))
    value[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, 40))
    damaged = bytes(value[: len(value) - cut])
    found = plain_png(damaged, 32, 32)
    if found is not None:
        with Image.open(io.BytesIO(damaged)) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), found)
