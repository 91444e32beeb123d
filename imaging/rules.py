"""What the pixels of a model are, and which images may become them."""

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
that are that already."""

Shape = tuple[int, int, int]
"""(height, width, channels) of an image."""
Size = tuple[int, int]
"""Width and height of an image in pixels, turned as its EXIF data says."""

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
FITS = ("cover", "exact", "letterbox")


class ImageError(ReasonError, ValueError):
    """An image that cannot become the model's input, ever."""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How an encoded image becomes the model's pixels, from the model's `preprocess.*` parameters.

    Attributes:
        resize: length in pixels that the shorter side is scaled to, for `cover` alone; more where
            the picture would not cover the input.
        interpolation: bilinear, bicubic, nearest or lanczos.
        bgr: channels in the order blue, green, red.
        fit: cover (scaled until it covers the input, whose size is cut from its centre), exact
            (scaled to the input's size, its proportions are lost), letterbox (scaled until it fits
            into the input, grey beside it); None: cover where there is a `resize`, else the
            picture must already have the input's size.
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
        preprocess: how an encoded image becomes that.
        max_bytes: bound on the encoded image, or on the raw pixels.
        max_pixels: bound on width x height, checked before anything is decoded.
        tensor: the dtype, the order and the range of the model's numbers.
    """

    shape: tuple[int, int, int] | None
    preprocess: Preprocess
    max_bytes: int
    max_pixels: int
    tensor: TensorRules = PLAIN


def read_preprocess(parameters: dict[str, Any], refuse: Callable[[str], Exception]) -> Preprocess:
    """Understand a model's `preprocess.*` parameters; raises what `refuse` makes of a bad one."""
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
