"""What a browser is given of an image."""

import io
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from imaging import thumbnail as module
from imaging.rules import ImageError
from imaging.thumbnail import Thumbnail
from tests.consumer.liveview.records import png
from tests.imaging.images import deep_png, exif_turn, mpo, save, scan_bomb, smooth
from wire.image import NDARRAY

MAX_SIDE = 480
RANDOM = np.random.default_rng(3)


class Picture(NamedTuple):
    value: bytes
    content_type: str | None
    dtype: str | None
    shape: tuple[int, ...] | None


def thumbnail(picture: Picture) -> Thumbnail:
    return module.thumbnail(*picture, side=MAX_SIDE, exact_side=MAX_SIDE)


def encoded(pixels: npt.NDArray[np.uint8], kind: str = "PNG", **options: object) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return Picture(buffer.getvalue(), None, None, None)


def opened(made: Thumbnail) -> Image.Image:
    with Image.open(io.BytesIO(made.value)) as image:
        image.load()
        assert made.content_type == f"image/{(image.format or '').lower()}"
        return image


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_a_small_image_keeps_every_pixel(kind: str) -> None:
    pixels = RANDOM.integers(0, 255, (32, 24, 3)).astype(np.uint8)
    made = thumbnail(encoded(pixels, kind))
    assert made.content_type == "image/png"
    assert np.array_equal(np.asarray(opened(made)), pixels)


@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 5), (6, 5, 1)])
def test_raw_pixels_are_shown(shape: tuple[int, ...]) -> None:
    pixels = RANDOM.integers(0, 255, shape).astype(np.uint8)
    made = thumbnail(Picture(pixels.tobytes(), NDARRAY, "uint8", shape))
    assert np.asarray(opened(made)).tobytes() == pixels.tobytes()
    assert opened(made).size == (5, 6)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_large_image_is_reduced_and_keeps_its_proportions(kind: str) -> None:
    pixels = np.full((1000, 2000, 3), (10, 200, 30), np.uint8)
    image = opened(thumbnail(encoded(pixels, kind)))
    assert image.size == (MAX_SIDE, MAX_SIDE // 2)
    assert np.abs(np.asarray(image).astype(int) - (10, 200, 30)).max() < 6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_any_colour_mode_is_shown(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (4, 4)).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    assert opened(thumbnail(Picture(buffer.getvalue(), None, None, None))).size == (4, 4)


def test_an_image_is_turned_as_its_camera_says_and_its_metadata_stay_here() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    exif[0x010E] = "where I live"
    pixels = np.zeros((8, 16, 3), np.uint8)
    for made in (
        thumbnail(encoded(pixels, "JPEG", exif=exif)),
        thumbnail(encoded(np.zeros((1000, 2000, 3), np.uint8), "JPEG", exif=exif)),
    ):
        image = opened(made)
        assert image.height == 2 * image.width
        assert b"where I live" not in made.value
        assert not image.getexif()


def bomb() -> bytes:
    """A PNG whose header promises 10^10 pixels."""
    made = bytearray(png())
    made[16:24] = (100_000).to_bytes(4, "big") * 2
    return bytes(made)


@pytest.mark.parametrize(
    "picture",
    [
        Picture(b"", None, None, None),
        Picture(b"<svg onload='alert(1)'/>", "image/svg+xml", None, None),
        Picture(png()[:45], "image/png", None, None),
        Picture(bomb(), "image/png", None, None),
        Picture(b"x" * 12, NDARRAY, "float32", (1, 1, 3)),
        Picture(b"x" * 12, NDARRAY, "uint8", (100_000, 100_000, 3)),
        Picture(b"x" * 12, NDARRAY, "uint8", (2, 2, 2)),
        Picture(b"", NDARRAY, "uint8", (0, 5, 3)),
        Picture(b"x", NDARRAY, "uint8", None),
        Picture(b"x" * (17 << 20), None, None, None),
        Picture(scan_bomb(60), None, None, None),
        Picture(save(smooth(), "GIF"), None, None, None),
    ],
    ids=[
        "empty",
        "svg",
        "cut",
        "bomb",
        "float",
        "huge",
        "channels",
        "no rows",
        "no shape",
        "large",
        "scans",
        "GIF",
    ],
)
def test_what_cannot_be_shown_is_refused(picture: Picture) -> None:
    with pytest.raises(ImageError):
        thumbnail(picture)


def test_what_is_an_image_for_the_bridge_has_a_picture() -> None:
    shown = np.asarray(smooth()).astype(int)
    for value in (mpo(), save(smooth(), "JPEG", quality=95)[:-2]):
        found = np.asarray(opened(thumbnail(Picture(value, "image/*", None, None))))
        assert np.abs(found.astype(int) - shown).max() <= 12
    deep = RANDOM.integers(0, 65536, (9, 7, 1), np.uint16)
    found = np.asarray(opened(thumbnail(Picture(deep_png(deep), None, None, None))))
    assert np.array_equal(found, (deep[:, :, 0] >> 8))
    lying = save(smooth(48, 64), "MPO", save_all=True, append_images=[smooth()], exif=exif_turn())
    assert opened(thumbnail(Picture(lying, None, None, None))).size == (48, 64)


def test_a_picture_may_be_kept_to_the_pixel_only_where_it_is_small() -> None:
    value = save(smooth(48, 64), "PNG")
    assert opened(module.thumbnail(value, side=32, exact_side=64)).size == (64, 48)
    reduced = module.thumbnail(value, side=32, exact_side=16)
    assert opened(reduced).size == (32, 24)
    assert reduced.data_uri.startswith("data:image/jpeg;base64,")
