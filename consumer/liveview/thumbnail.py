"""What the page shows of an image: decoded within bounds and encoded again, never passed on. Pure.

The page takes the pixels of strangers; a browser is given only what was written here.
"""

import io
import math
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from consumer.liveview.recent import Picture
from wire.image import NDARRAY

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_PIXELS = 50_000_000
"""The bridge's default: width x height, looked at before anything is decoded."""
MAX_SIDE = 480
"""Pixels: as large as the page shows an image on a screen of double density."""

# Damaged metadata warns; what counts is whether the pixels can be read.
warnings.filterwarnings("ignore", module=r"PIL\.")


class PictureError(ValueError):
    """Not an image that can be shown; the text says why."""


class Thumbnail(NamedTuple):
    value: bytes
    content_type: str


def thumbnail(picture: Picture) -> Thumbnail:
    """The image for the page: pixel for pixel as PNG where it is small, else reduced, as JPEG.

    Raises:
        PictureError: its bytes are not what they should be, or too much.
    """
    try:
        image = _raw(picture) if picture.content_type == NDARRAY else _decode(picture.value)
        return _encode(image)
    except MemoryError:
        raise
    except Exception as error:
        # Decoders raise whatever their parsing runs into.
        raise PictureError(str(error)) from None


def _raw(picture: Picture) -> Image.Image:
    shape = picture.shape or ()
    grey = len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)
    if picture.dtype != "uint8" or not (grey or (len(shape) == 3 and shape[2] == 3)):
        raise PictureError(f"{picture.dtype} {shape} cannot be shown, only uint8 grey or RGB")
    if math.prod(shape) != len(picture.value) or not picture.value:
        raise PictureError(f"{len(picture.value)} bytes do not make {shape}")
    pixels = np.frombuffer(picture.value, np.uint8).reshape(shape[:2] if grey else shape)
    return Image.fromarray(pixels)


def _decode(value: bytes) -> Image.Image:
    with Image.open(io.BytesIO(value), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise PictureError(f"{width} x {height} pixels, {MAX_PIXELS:,} are allowed")
        # JPEG only: decodes at a reduced scale that is still as large as what is needed.
        image.draft(None, (MAX_SIDE, MAX_SIDE))
        image.load()
        return ImageOps.exif_transpose(image)


def _encode(image: Image.Image) -> Thumbnail:
    buffer = io.BytesIO()
    picture = image if image.mode in ("L", "RGB") else image.convert("RGB")
    if max(picture.size) <= MAX_SIDE:
        # New from its pixels: nothing of the metadata of a stranger's file is passed on.
        Image.fromarray(np.asarray(picture)).save(buffer, "PNG", compress_level=1)
        return Thumbnail(buffer.getvalue(), "image/png")
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    picture.save(buffer, "JPEG", quality=85, exif=b"", icc_profile=None)
    return Thumbnail(buffer.getvalue(), "image/jpeg")
