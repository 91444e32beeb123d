"""The form of a model's pixels, and which images may become them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.tensor import PLAIN, Array, TensorRules
from wire.reason import ReasonError

Pixels = npt.NDArray[np.uint8]
Input = Array | bytes
"""One image as a model takes it: an array of the model's dtype and dims, C-contiguous, or bytes
that already have that form."""

Shape = tuple[int, int, int]
"""(height, width, channels) of an image."""
Size = tuple[int, int]
"""Width and height of an image in pixels, turned as its EXIF data says."""

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
FITS = ("cover", "exact", "letterbox")


class ImageError(ReasonError, ValueError):
    """An image that can never become the model's input."""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How an encoded image becomes the model's pixels, from the model's `preprocess.*` parameters.

    Attributes:
        resize: length in pixels to which the shorter side is scaled, for `cover` alone; longer
            where the picture would not cover the input.
        interpolation: bilinear, bicubic, nearest or lanczos.
        bgr: whether the channels are in the order blue, green, red.
        fit: cover (scaled until it covers the input, then cropped at its centre), exact (scaled to
            the input's size, without keeping its proportions), letterbox (scaled until it fits into
            the input, with grey borders); None: cover where there is a `resize`, else the picture
            must already have the input's size.
    """

    resize: int | None = None
    interpolation: str = "bilinear"
    bgr: bool = False
    fit: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRules:
    """Which images are accepted, and how they become a model's input.

    Attributes:
        shape: (height, width, channels) of the input; None: the model takes the encoded image
            itself.
        preprocess: how an encoded image becomes the input.
        max_bytes: most bytes of the encoded image, or on the raw pixels.
        max_pixels: most pixels, width x height, checked before anything is decoded.
        tensor: the dtype, the order and the range of the model's numbers.
    """

    shape: tuple[int, int, int] | None
    preprocess: Preprocess
    max_bytes: int
    max_pixels: int
    tensor: TensorRules = PLAIN


def read_preprocess(parameters: dict[str, Any], refuse: Callable[[str], Exception]) -> Preprocess:
    """Read a model's `preprocess.*` parameters; raises what `refuse` makes from a bad one."""
    text = {name: str(one.get("string_value", "")) for name, one in parameters.items()}
    resize = text.get("preprocess.resize", "")
    if resize and not (resize.isascii() and resize.isdigit() and 0 < int(resize) <= 16384):
        raise refuse(f"parameter preprocess.resize is {resize!r}, expected a length in pixels")
    interpolation = text.get("preprocess.interpolation", "bilinear").lower()
    if interpolation not in INTERPOLATIONS:
        raise refuse(
            f"parameter preprocess.interpolation is {interpolation!r}, "
            f"expected one of {', '.join(INTERPOLATIONS)}"
        )
    color = text.get("preprocess.color", "RGB").upper()
    if color not in ("RGB", "BGR", "L"):
        raise refuse(f"parameter preprocess.color is {color!r}, expected RGB, BGR or L")
    fit = text.get("preprocess.fit", "").lower() or None
    if fit is not None and fit not in FITS:
        raise refuse(f"parameter preprocess.fit is {fit!r}, expected one of {', '.join(FITS)}")
    return Preprocess(int(resize) if resize else None, interpolation, color == "BGR", fit)
