"""From the bytes of one image to the model's pixels. Nothing is decoded before it is bounded."""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from bridge.model import ModelSpec
from bridge.png import plain_png
from wire.image import CONTENT_TYPES, NDARRAY, ImageEvent, sniff

Pixels = npt.NDArray[np.uint8]

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
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# The bound is ours, checked on the header; Pillow's own warns at one size and raises at another.
Image.MAX_IMAGE_PIXELS = None
# Damaged metadata warns; what counts is whether the pixels can be read.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageError(ValueError):
    """An image that cannot become the model's input, ever.

    Attributes:
        kind: a short, fixed name for the reason, safe as a metric label.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def needs_decoder(event: ImageEvent, spec: ModelSpec) -> bool:
    """Whether `to_input` would run a decoder, which an image may crash."""
    return spec.shape is not None and event.content_type != NDARRAY


def to_input(
    event: ImageEvent, value: bytes, spec: ModelSpec, *, max_bytes: int, max_pixels: int
) -> Pixels | bytes:
    """Decode one image for the model.

    Args:
        event: the image's envelope.
        value: the encoded image, or raw pixels.
        spec: the model.
        max_bytes: bound on `value`.
        max_pixels: bound on width x height, checked before decoding.

    Returns:
        uint8 [height, width, channels] as the model wants it, C-contiguous; or `value` itself
        where it is that already: raw pixels, or an encoded image for a model that takes those.

    Raises:
        ImageError: why it can never be done.
    """
    if not value:
        raise ImageError("empty", "the message has no value")
    if len(value) > max_bytes:
        raise ImageError("too_large", f"{len(value):,} bytes, {max_bytes:,} are allowed")
    if event.content_type == NDARRAY:
        if spec.shape is None:
            raise ImageError("content_type", "the model takes encoded images, not raw pixels")
        _check_raw(event, value, spec.shape)
        return value
    if event.content_type not in _UNTYPED and event.content_type not in _FORMATS:
        known = ", ".join(CONTENT_TYPES)
        raise ImageError("content_type", f"{event.content_type!r} is not one of {known}")
    if spec.shape is None:
        _check_type(event.content_type, value)
        return value
    pixels = _plain(event.content_type, value, spec, max_pixels)
    return _decode(event.content_type, value, spec, max_pixels) if pixels is None else pixels


def _check_type(content_type: str | None, value: bytes) -> None:
    """All of the envelope that whoever decodes these bytes later does not see."""
    claimed, found = _FORMATS.get(content_type or ""), _FORMATS.get(sniff(value) or "")
    if claimed is not None and found is not None and claimed != found:
        raise ImageError("content_type", f"content-type says {claimed}, the bytes {found}")


def _check_raw(event: ImageEvent, value: bytes, shape: tuple[int, int, int]) -> None:
    if event.dtype is None or event.shape is None:
        raise ImageError("ndarray", "raw pixels need the headers ce_dtype and ce_shape")
    if event.dtype != "uint8":
        raise ImageError("dtype", f"dtype is {event.dtype[:40]!r}, the model takes uint8")
    if event.shape != shape:
        raise ImageError("shape", f"shape is {event.shape}, the model takes {shape}")
    if len(value) != math.prod(shape):
        raise ImageError(
            "ndarray", f"{len(value)} bytes do not make uint8 {shape}, {math.prod(shape)} do"
        )


def _plain(
    content_type: str | None, value: bytes, spec: ModelSpec, max_pixels: int
) -> Pixels | None:
    """The pixels of an image that needs nothing but decoding, where there is a faster way."""
    assert spec.shape is not None
    height, width, channels = spec.shape
    resized = spec.preprocess.resize not in (None, min(height, width))
    typed_otherwise = content_type not in _UNTYPED and content_type != "image/png"
    if channels != 3 or resized or typed_otherwise or height * width > max_pixels:
        return None
    pixels = plain_png(value, height, width)
    if pixels is None or not spec.preprocess.bgr:
        return pixels
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _decode(content_type: str | None, value: bytes, spec: ModelSpec, max_pixels: int) -> Pixels:
    with opened(content_type, value, max_pixels) as image:
        return _fit(image, spec)


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


def _fit(image: Image.Image, spec: ModelSpec) -> Pixels:
    assert spec.shape is not None
    height, width, channels = spec.shape
    resize = spec.preprocess.resize
    if resize is None and image.size != (width, height):
        raise ImageError(
            "shape", f"{image.width} x {image.height}, the model takes {width} x {height}"
        )
    if resize is not None:
        # JPEG only: decodes at a reduced scale that is still at least as large as what is needed.
        image.draft(None, (resize, resize))
        image.load()
    picture = ImageOps.exif_transpose(image) if image.getexif() else image
    mode = "L" if channels == 1 else "RGB"
    if picture.mode != mode:
        picture = picture.convert(mode)
    if resize is not None:
        picture = _resize_and_crop(picture, resize, width, height, spec.preprocess.interpolation)
    pixels: Pixels = np.asarray(picture, np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(pixels[:, :, ::-1]) if spec.preprocess.bgr else pixels


def _resize_and_crop(
    picture: Image.Image, resize: int, width: int, height: int, interpolation: str
) -> Image.Image:
    size = scaled(picture.size, resize)
    left, top = crop_at(size, width, height)
    if picture.size != size:
        # Only what is kept of it is scaled: the same pixels as of all of it, but for rounding.
        x, y = picture.width / size[0], picture.height / size[1]
        box = (left * x, top * y, (left + width) * x, (top + height) * y)
        return picture.resize((width, height), _RESAMPLING[interpolation], box)
    if size != (width, height):
        picture = picture.crop((left, top, left + width, top + height))
    return picture


def scaled(size: tuple[int, int], resize: int) -> tuple[int, int]:
    """Width and height once the shorter of them is `resize`."""
    shorter = min(size)
    # They truncate as in torchvision's Resize, so that accuracy matches its recipes.
    width, height = (max(1, int(side * resize / shorter)) for side in size)
    return width, height


def crop_at(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Left and top of what is cut from the centre of a picture of this size.

    Raises:
        ImageError: it is smaller than that.
    """
    if size[0] < width or size[1] < height:
        raise ImageError(
            "shape", f"{size[0]} x {size[1]} when resized, the model takes {width} x {height}"
        )
    return round((size[0] - width) / 2), round((size[1] - height) / 2)
