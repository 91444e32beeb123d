"""Encodes pixels as the bytes of an image message."""

import io
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from wire.image import NDARRAY

Pixels = npt.NDArray[np.uint8]
"""uint8 [height, width, 3], RGB."""


class Encoding(StrEnum):
    """The encoding of pixels in a message. All except JPEG are lossless."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    BMP = "bmp"
    RAW = "raw"


class EncodedImage(NamedTuple):
    """An encoded image, ready to be sent any number of times.

    Attributes:
        label: the true class name, where it is known.
        dtype: numpy dtype name of raw pixels, else None.
        shape: their shape, outermost dimension first, else None.
        url: URL of its object in object storage; None: the message has its bytes.
    """

    value: bytes
    content_type: str
    label: str | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    url: str | None = None


# Quality 95 is the highest that Pillow advises; lossless WebP keeps a measured accuracy comparable.
_SAVE_OPTIONS: dict[Encoding, dict[str, object]] = {
    Encoding.PNG: {},
    Encoding.JPEG: {"quality": 95},
    Encoding.WEBP: {"lossless": True},
    Encoding.BMP: {},
}


def encode(pixels: Pixels, encoding: Encoding, label: str | None = None) -> EncodedImage:
    """Encode `pixels` (uint8 [height, width, 3], RGB)."""
    if encoding is Encoding.RAW:
        shape = tuple(pixels.shape)
        return EncodedImage(pixels.tobytes(), NDARRAY, label, str(pixels.dtype), shape)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, encoding.value, **_SAVE_OPTIONS[encoding])
    return EncodedImage(buffer.getvalue(), f"image/{encoding.value}", label)
