"""Turns the bytes of one image into the model's pixels. Nothing is decoded before it is bounded."""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import AvifImagePlugin, Image, ImageChops

from imaging.fit import fit, place
from imaging.formats import DECODED, NAMES, format_of
from imaging.jpeg import read_jpeg
from imaging.orientation import LYING, UPRIGHT, read_orientation
from imaging.png import plain_png, read_png
from imaging.rules import ImageError, ImageRules, Input, Pixels, Size
from imaging.tensor import to_tensor
from wire.image import NDARRAY, ImageEvent

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "I;16", "I;16B", "I;16L")
"""Pillow's modes that the decoded formats can have."""
MAX_ASPECT = 100
"""Most times that the longer side may be as long as the shorter one: beyond it, a resize would
enlarge one side far too much."""
_END = b"\xff\xd9"
_OTHER_BITS = b"\x5b\xa6\x3d\xd2\x9c\x65\x4e\xb1" * 8
# Our own bound is checked on the header; Pillow's warns at one size and raises at another.
Image.MAX_IMAGE_PIXELS = None
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # decoding is parallel by processes
# Pillow warns about damaged metadata; all that counts is whether the pixels can be read.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Opened(NamedTuple):
    """An image whose header is within the bounds.

    Attributes:
        orientation: EXIF's orientation, 1 to 8.
        ended: False for a JPEG without its end marker.
    """

    image: Image.Image
    orientation: int
    ended: bool


class Picture(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8 [height, width, channels] of the model's input, C-contiguous.
        size: width and height of the original image, upright.
    """

    pixels: Pixels
    size: Size


def needs_decoder(event: ImageEvent, rules: ImageRules) -> bool:
    """Whether `to_input` would run a decoder, which an image may crash."""
    return rules.shape is not None and event.content_type != NDARRAY


def needs_converting(event: ImageEvent, value: bytes, rules: ImageRules) -> bool:
    """Whether `value` is raw pixels that must still be converted to the model's numbers.

    Raises:
        ImageError: it is raw pixels, but of the wrong length.
    """
    if rules.shape is None or rules.tensor.plain or event.content_type != NDARRAY:
        return False
    if event.dtype != "uint8" or event.shape != rules.shape:
        return False
    _check_size(value, rules)
    _check_length(value, "uint8", 1, rules.shape)
    return True


def to_input(event: ImageEvent, value: bytes, rules: ImageRules) -> Input:
    """Prepare one image for the model.

    Args:
        event: the image's envelope. Its content type only counts if it is that of raw pixels: the
            format of an encoded image is found from its bytes.
        value: the encoded image, or raw pixels.
        rules: which images are accepted, and what they become.

    Returns:
        A C-contiguous array as `rules.tensor` says; or `value` itself where it is that already: raw
        pixels, or an encoded image for a model that takes those.

    Raises:
        ImageError: the image can never be used; the text says why.
    """
    if event.content_type != NDARRAY and rules.shape is not None:
        return _input(decode(value, rules), rules)
    _check_size(value, rules)
    if event.content_type == NDARRAY:
        if rules.shape is None:
            raise ImageError("content_type", "the model takes encoded images, not raw pixels")
        if not rules.tensor.plain and needs_converting(event, value, rules):
            assert rules.shape is not None
            return _input(np.frombuffer(value, np.uint8).reshape(rules.shape), rules)
        _check_raw(event, value, rules.shape, rules)
    return value


def _input(pixels: Pixels, rules: ImageRules) -> Input:
    if rules.tensor.plain:
        return pixels
    made: Input = to_tensor(pixels[np.newaxis], rules.tensor)[0]
    return made


def decode(value: bytes, rules: ImageRules) -> Pixels:
    """Decode one encoded image: uint8 [height, width, channels], C-contiguous.

    Raises:
        ImageError: the image can never be used; the text says why.
    """
    return to_picture(value, rules).pixels


def to_picture(value: bytes, rules: ImageRules) -> Picture:
    """Decode one encoded image, and return its original size, too.

    Raises:
        ImageError: the image can never be used; the text says why.
    """
    assert rules.shape is not None
    _check_size(value, rules)
    pixels = _plain(value, rules)
    if pixels is not None:
        height, width, _ = rules.shape
        return Picture(pixels, (width, height))
    with opened(value, rules.max_pixels) as (image, orientation, _):
        # The size is taken before decoding: a JPEG may be decoded at a reduced scale.
        size = image.size[::-1] if orientation >= LYING else image.size
        return Picture(fit(image, rules, orientation), size)


def _check_size(value: bytes, rules: ImageRules) -> None:
    if not value:
        raise ImageError("empty", "the message has no value")
    if len(value) > rules.max_bytes:
        raise ImageError("too_large", f"{len(value):,} bytes, {rules.max_bytes:,} are allowed")


def _check_raw(
    event: ImageEvent, value: bytes, shape: tuple[int, int, int], rules: ImageRules
) -> None:
    tensor = rules.tensor
    if event.dtype == tensor.dtype and event.shape == tensor.dims(shape):
        _check_length(value, tensor.dtype, tensor.itemsize, event.shape)
        return
    if event.dtype is None or event.shape is None:
        raise ImageError("ndarray", "raw pixels need the headers ce_dtype and ce_shape")
    dtype, dims = tensor.dtype, tensor.dims(shape)
    also = "" if tensor.plain else f", or pixels: uint8 {shape}"
    if event.dtype != dtype:
        raise ImageError("dtype", f"dtype is {event.dtype[:40]!r}, the model takes {dtype}{also}")
    raise ImageError("shape", f"shape is {event.shape}, the model takes {dims}{also}")


def _check_length(value: bytes, dtype: str, itemsize: int, dims: tuple[int, ...]) -> None:
    right = itemsize * math.prod(dims)
    if len(value) != right:
        raise ImageError("ndarray", f"{len(value)} bytes do not make {dtype} {dims}, {right} do")


def _plain(value: bytes, rules: ImageRules) -> Pixels | None:
    """The pixels of an image that only needs decoding, if there is a faster way; otherwise None."""
    assert rules.shape is not None
    height, width, channels = rules.shape
    resized = place((width, height), rules) != (width, height, 0, 0)
    if channels != 3 or resized or height * width > rules.max_pixels:
        return None
    pixels = plain_png(value, height, width)
    if pixels is None or not rules.preprocess.bgr:
        return pixels
    return np.ascontiguousarray(pixels[:, :, ::-1])


@contextmanager
def opened(value: bytes, max_pixels: int) -> Iterator[Opened]:
    """An encoded image whose header is within the bounds; nothing of it is decoded yet.

    Metadata is removed before Pillow sees the image: it could spoil pixels, and only the
    orientation in it matters. A JPEG without its end marker is decoded here once, to see whether
    only the marker is missing.

    Raises:
        ImageError: it is not within the bounds, or any work on it while it is open fails.
    """
    kind = format_of(value)
    if kind is None:
        raise ImageError("not_an_image", f"not a readable {NAMES} image: no known format")
    if kind not in DECODED:
        raise ImageError("format", f"a {kind} image, which is not decoded; send {NAMES}")
    orientation, ended, frames = UPRIGHT, True, 1
    if kind == "JPEG":
        value, orientation, ended = read_jpeg(value)
    elif kind == "PNG":
        value, orientation, frames = read_png(value)
    with _reading(kind):
        if not ended:
            _check_complete(value, max_pixels)
            value += _END
        with Image.open(io.BytesIO(value), formats=[kind]) as image:
            _check_header(image, max_pixels, max(frames, getattr(image, "n_frames", 1)))
            if kind not in ("JPEG", "PNG"):
                orientation = read_orientation(image.info.get("exif", b""))
            yield Opened(image, orientation, ended)


@contextmanager
def _reading(kind: str) -> Iterator[None]:
    try:
        yield
    except (ImageError, MemoryError, ImportError):
        raise  # refused already, or the bridge lacks memory or a package
    except Exception as error:
        # Decoders raise whatever their parsing runs into: OSError, SyntaxError, struct.error,
        # ValueError, EOFError and more. All mean the same: these bytes are not an image.
        detail = str(error).split(" <", maxsplit=1)[0].replace("cannot identify image file", "")
        truncated = "truncated" in detail.lower() or isinstance(error, EOFError)
        raise ImageError(
            "truncated" if truncated else "not_an_image",
            f"not a readable {kind} image: {detail.strip() or 'its header is damaged'}",
        ) from None


def _check_complete(value: bytes, max_pixels: int) -> None:
    """Refuse a JPEG that ends before its pixels do.

    libjpeg decodes missing bits as if they were there, and does not tell Pillow. So the missing
    part is filled in twice, differently: a picture that has all its bits does not change.
    """
    pictures = []
    for filler in (_END, _OTHER_BITS + _END):
        with Image.open(io.BytesIO(value + filler), formats=["JPEG"]) as image:
            _check_header(image, max_pixels, 1)
            image.load()
            pictures.append(image)
    if ImageChops.difference(*pictures).getbbox() is not None:
        raise ImageError("truncated", "not a readable JPEG image: it ends before its pixels do")


def _check_header(image: Image.Image, max_pixels: int, frames: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            "too_many_pixels", f"{width} x {height} pixels, {max_pixels:,} pixels are allowed"
        )
    if not 0 < max(width, height) <= MAX_ASPECT * min(width, height):
        raise ImageError("aspect", f"{width} x {height}: longer than {MAX_ASPECT} times its width")
    if frames > 1:
        raise ImageError("frames", f"{frames} frames, expected one image")
    if image.mode not in _MODES:
        raise ImageError("color", f"colour mode {image.mode}, expected one of {', '.join(_MODES)}")
