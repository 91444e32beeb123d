"""A small picture of a stranger's image, for a page: decoded within the usual bounds, and encoded
anew. Nothing of the original file is passed on."""

import base64
import io
import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from imaging.decode import opened
from imaging.fit import coloured
from imaging.orientation import TRANSPOSE
from imaging.rules import ImageError
from wire.image import NDARRAY

MAX_BYTES = 16 << 20
MAX_PIXELS = 50_000_000
"""Most pixels of an image that is decoded: the bridge's default. It is checked before anything is
decoded."""


class Thumbnail(NamedTuple):
    """An encoded picture."""

    value: bytes
    content_type: str

    @property
    def data_uri(self) -> str:
        return f"data:{self.content_type};base64,{base64.b64encode(self.value).decode()}"


def thumbnail(
    value: bytes,
    content_type: str | None = None,
    dtype: str | None = None,
    shape: tuple[int, ...] | None = None,
    *,
    side: int,
    exact_side: int,
) -> Thumbnail:
    """Make a small picture of an image.

    Args:
        value: an encoded image, or raw pixels where `content_type` says so.
        dtype: dtype of raw pixels: uint8.
        shape: shape of raw pixels: [height, width], or [height, width, 1 or 3].
        side: longest side in pixels of a picture that is reduced; it becomes a JPEG.
        exact_side: longest side up to which a picture keeps every pixel; it becomes a PNG.

    Raises:
        ImageError: the image cannot be shown.
    """
    if len(value) > MAX_BYTES:
        raise ImageError("too_large", f"{len(value):,} bytes, {MAX_BYTES:,} are allowed")
    if content_type == NDARRAY:
        return _encoded(_raw(value, dtype, shape), side, exact_side)
    with opened(value, MAX_PIXELS) as (image, orientation, _):
        # For JPEG only: decode at a reduced scale that is still as large as needed.
        image.draft(None, (max(side, exact_side),) * 2)
        picture = coloured(image, "L" if image.mode in ("1", "L", "LA", "I;16") else "RGB")
        if orientation in TRANSPOSE:
            picture = picture.transpose(TRANSPOSE[orientation])
        return _encoded(picture, side, exact_side)


def _raw(value: bytes, dtype: str | None, shape: tuple[int, ...] | None) -> Image.Image:
    sizes = shape or ()
    grey = len(sizes) == 2 or (len(sizes) == 3 and sizes[2] == 1)
    if dtype != "uint8" or not (grey or (len(sizes) == 3 and sizes[2] == 3)):
        raise ImageError("ndarray", f"{dtype} {shape} cannot be shown, only uint8 grey or RGB")
    if math.prod(sizes) != len(value) or not value:
        raise ImageError("ndarray", f"{len(value)} bytes do not make {shape}")
    pixels = np.frombuffer(value, np.uint8).reshape(sizes[:2] if grey else sizes)
    return Image.fromarray(pixels)


def _encoded(picture: Image.Image, side: int, exact_side: int) -> Thumbnail:
    buffer = io.BytesIO()
    exact = max(picture.size) <= exact_side
    if not exact:
        picture.thumbnail((side, side))
    # Made from pixels alone: none of the metadata of a stranger's file is passed on.
    made = Image.fromarray(np.asarray(picture))
    if exact:
        made.save(buffer, "PNG", compress_level=1)
        return Thumbnail(buffer.getvalue(), "image/png")
    made.save(buffer, "JPEG", quality=85)
    return Thumbnail(buffer.getvalue(), "image/jpeg")
