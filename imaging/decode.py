"""From the bytes of one image to the model's pixels. Nothing is decoded before it is bounded."""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image

from imaging.fit import fit, place
from imaging.orientation import LYING, read_orientation
from imaging.png import plain_png
from imaging.rules import ImageError, ImageRules, Input, Pixels, Size
from imaging.tensor import to_tensor
from wire.image import CONTENT_TYPES, NDARRAY, ImageEvent, sniff

_FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/jpg": "JPEG",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
}
_ALLOWED = ("PNG", "JPEG", "WEBP", "BMP")
# What says nothing about the bytes: they are looked at instead.
_UNTYPED = (None, "", "application/octet-stream", "binary/octet-stream")
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBa", "La", "PA")
"""Colour modes with 8 bits a channel that convert to RGB without guessing; CMYK, I;16 and float
images would need a choice that is not the bridge's to make."""
MAX_ASPECT = 100
"""Longer side by shorter side: beyond it a resize would blow up one side of the image."""
# The bound is ours, checked on the header; Pillow's own warns at one size and raises at another.
Image.MAX_IMAGE_PIXELS = None
# Damaged metadata warns; what counts is whether the pixels can be read.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Picture(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8 [height, width, channels] of the model's input, C-contiguous.
        size: of the image that they were made of; None: they came as they are.
    """

    pixels: Pixels
    size: Size | None


def needs_decoder(event: ImageEvent, rules: ImageRules) -> bool:
    """Whether `to_input` would run a decoder, which an image may crash, or work on raw pixels."""
    if rules.shape is None:
        return False
    return event.content_type != NDARRAY or _is_pixels(event, rules)


def to_input(event: ImageEvent, value: bytes, rules: ImageRules) -> Input:
    """Prepare one image for the model.

    Args:
        event: the image's envelope.
        value: the encoded image, or raw pixels.
        rules: what is accepted, and what it becomes.

    Returns:
        An array as `rules.tensor` says, C-contiguous; or `value` itself where it is that already:
        a raw array, or an encoded image for a model that takes those.

    Raises:
        ImageError: why it can never be done.
    """
    if needs_decoder(event, rules):
        pixels = to_picture(event, value, rules).pixels
        return pixels if rules.tensor.plain else to_tensor(pixels[np.newaxis], rules.tensor)[0]
    _check_size(value, rules)
    if event.content_type == NDARRAY:
        if rules.shape is None:
            raise ImageError("content_type", "the model takes encoded images, not raw pixels")
        _check_raw(event, value, rules.shape, rules)
        return value
    _check_content_type(event.content_type)
    _check_type(event.content_type, value)
    return value


def to_picture(event: ImageEvent, value: bytes, rules: ImageRules) -> Picture:
    """Decode one image, or take raw 8-bit pixels, for a model that takes pixels.

    Raises:
        ImageError: why it can never be done.
    """
    assert rules.shape is not None
    _check_size(value, rules)
    height, width, _ = rules.shape
    if event.content_type == NDARRAY:
        _check_length(value, "uint8", 1, rules.shape)
        return Picture(np.frombuffer(value, np.uint8).reshape(rules.shape), None)
    _check_content_type(event.content_type)
    pixels = _plain(event.content_type, value, rules)
    if pixels is not None:
        return Picture(pixels, (width, height))
    return _decode(event.content_type, value, rules)


def _check_size(value: bytes, rules: ImageRules) -> None:
    if not value:
        raise ImageError("empty", "the message has no value")
    if len(value) > rules.max_bytes:
        raise ImageError("too_large", f"{len(value):,} bytes, {rules.max_bytes:,} are allowed")


def _check_content_type(content_type: str | None) -> None:
    if content_type not in _UNTYPED and content_type not in _FORMATS:
        known = ", ".join(CONTENT_TYPES)
        raise ImageError("content_type", f"{content_type!r} is not one of {known}")


def _check_type(content_type: str | None, value: bytes) -> None:
    """All of the envelope that whoever decodes these bytes later does not see."""
    claimed, found = _FORMATS.get(content_type or ""), _FORMATS.get(sniff(value) or "")
    if claimed is not None and found is not None and claimed != found:
        raise ImageError("content_type", f"content-type says {claimed}, the bytes {found}")


def _is_pixels(event: ImageEvent, rules: ImageRules) -> bool:
    """Whether raw data are 8-bit pixels that are not yet what the model takes."""
    return not rules.tensor.plain and (event.dtype, event.shape) == ("uint8", rules.shape)


def _check_raw(
    event: ImageEvent, value: bytes, shape: tuple[int, int, int], rules: ImageRules
) -> None:
    if event.dtype is None or event.shape is None:
        raise ImageError("ndarray", "raw pixels need the headers ce_dtype and ce_shape")
    dtype, dims = rules.tensor.dtype, rules.tensor.dims(shape)
    also = "" if rules.tensor.plain else f", or pixels: uint8 {shape}"
    if event.dtype != dtype:
        raise ImageError("dtype", f"dtype is {event.dtype[:40]!r}, the model takes {dtype}{also}")
    if event.shape != dims:
        raise ImageError("shape", f"shape is {event.shape}, the model takes {dims}{also}")
    _check_length(value, dtype, rules.tensor.itemsize, dims)


def _check_length(value: bytes, dtype: str, itemsize: int, dims: tuple[int, ...]) -> None:
    right = itemsize * math.prod(dims)
    if len(value) != right:
        raise ImageError("ndarray", f"{len(value)} bytes do not make {dtype} {dims}, {right} do")


def _plain(content_type: str | None, value: bytes, rules: ImageRules) -> Pixels | None:
    """The pixels of an image that needs nothing but decoding, where there is a faster way."""
    assert rules.shape is not None
    height, width, channels = rules.shape
    resized = place((width, height), rules) != (width, height, 0, 0)
    typed_otherwise = content_type not in _UNTYPED and content_type != "image/png"
    if channels != 3 or resized or typed_otherwise or height * width > rules.max_pixels:
        return None
    pixels = plain_png(value, height, width)
    if pixels is None or not rules.preprocess.bgr:
        return pixels
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _decode(content_type: str | None, value: bytes, rules: ImageRules) -> Picture:
    with opened(content_type, value, rules.max_pixels) as image:
        orientation = read_orientation(image.info.get("exif", b""))
        # Taken before it is decoded: a JPEG may be decoded at a reduced scale.
        size = image.size[::-1] if orientation >= LYING else image.size
        return Picture(fit(image, rules, orientation), size)


@contextmanager
def opened(content_type: str | None, value: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """An encoded image whose header is within the bounds; nothing of it is decoded yet.

    Raises:
        ImageError: it is not, or whatever is done with it while it is open fails.
    """
    expected = None if content_type in _UNTYPED else _FORMATS[content_type or ""]
    try:
        with Image.open(io.BytesIO(value), formats=_ALLOWED) as image:
            _check_header(image, expected, max_pixels)
            yield image
    except ImageError:
        raise
    except MemoryError:
        raise  # the bridge is short of memory; that says nothing about this image
    except Exception as error:
        # Decoders raise whatever their parsing runs into: OSError, SyntaxError, struct.error,
        # ValueError, EOFError... Each means the same: these bytes are not an image.
        detail = str(error).split(" <", maxsplit=1)[0].replace("cannot identify image file", "")
        kind = "truncated" if "truncated" in detail.lower() else "not_an_image"
        what = expected or "PNG, JPEG, WebP or BMP"
        raise ImageError(
            kind, f"not a readable {what} image: {detail.strip() or 'no known format'}"
        ) from None


def _check_header(image: Image.Image, expected: str | None, max_pixels: int) -> None:
    if expected is not None and image.format != expected:
        raise ImageError("content_type", f"content-type says {expected}, the bytes {image.format}")
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            "too_many_pixels", f"{width} x {height} pixels, {max_pixels:,} pixels are allowed"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError("aspect", f"{width} x {height}: longer than {MAX_ASPECT} times its width")
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError("frames", f"{getattr(image, 'n_frames', 1)} frames, expected one image")
    if image.mode not in _MODES:
        raise ImageError("color", f"colour mode {image.mode}, expected 8-bit grey, RGB or RGBA")
