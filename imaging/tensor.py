"""Turns 8-bit pixels into the numbers that a model takes, in its order."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

DTYPES = {"UINT8": "uint8", "FP16": "float16", "FP32": "float32", "BF16": "bfloat16"}
"""Types that pixels can become: Triton's names, and numpy's (bfloat16 is not one of numpy's
own)."""

_ITEM_BYTES = {"uint8": 1, "float16": 2, "bfloat16": 2, "float32": 4}

Array = npt.NDArray[Any]

CHUNK = 1 << 16
"""Numbers that are converted at a time, so that the results stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Normalization:
    """(pixel / divisor - mean) / std, in float32, one mean and std for each channel.

    These are the same steps, in the same order, as torchvision's `ToTensor` (divisor 255) and
    `Normalize`, so that the results are equal to the last bit. (Its v2 multiplies by 1/255, which
    rounds differently.)
    """

    divisor: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


PRESETS = {
    # For torchvision's pretrained models, timm's and most others.
    "imagenet": Normalization(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # 0 to 1: for the YOLO families, and torchvision's detectors, which normalise inside.
    "unit": Normalization(255.0),
    # -1 to 1: for Inception, MobileNet, EfficientNet-Lite; densenet_onnx of Triton's quick start.
    "inception": Normalization(127.5, (1.0,)),
    # For OpenAI's CLIP and models derived from it.
    "clip": Normalization(
        255.0, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    ),
    # Triton's image_client calls this VGG: the mean colours are subtracted from 0 to 255.
    "vgg": Normalization(1.0, (123.0, 117.0, 104.0)),
    # 0 to 255: the model does the rest.
    "none": Normalization(),
}


@dataclass(frozen=True, slots=True)
class TensorRules:
    """The form in which a model takes the pixels of an image.

    Attributes:
        dtype: uint8, float16, float32 or bfloat16.
        channels_first: whether the order is [channels, height, width] instead of [height, width,
            channels].
        normalization: None: the numbers stay 0 to 255.
    """

    dtype: str = "uint8"
    channels_first: bool = False
    normalization: Normalization | None = None

    @property
    def plain(self) -> bool:
        """Whether decoded pixels already are the model's input."""
        return self.dtype == "uint8" and not self.channels_first

    @property
    def stored(self) -> str:
        """Numpy's dtype for the numbers; bfloat16, which numpy lacks, is kept as its bits."""
        return "uint16" if self.dtype == "bfloat16" else self.dtype

    @property
    def itemsize(self) -> int:
        return _ITEM_BYTES[self.dtype]

    def dims(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The dims of one image of `shape` (height, width, channels), as the model takes it."""
        height, width, channels = shape
        return (channels, height, width) if self.channels_first else shape


PLAIN = TensorRules()


def to_tensor(pixels: npt.NDArray[np.uint8], rules: TensorRules) -> Array:
    """Convert a batch of pixels to the numbers that the model takes.

    Args:
        pixels: uint8 [n, height, width, channels].

    Returns:
        C-contiguous [n, *dims] of the model's dtype, with bfloat16 as uint16 that hold its bits;
        `pixels` itself where nothing has to be done.
    """
    if rules.plain:
        return pixels
    if rules.dtype == "uint8":
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    images, height, width, channels = pixels.shape
    table = _table(rules, channels)
    made: Array = np.empty((images, *rules.dims((height, width, channels))), rules.stored)
    target = np.moveaxis(made, 1 if rules.channels_first else 3, 0)
    rows = max(1, min(height, CHUNK // max(1, width * channels)))
    together = max(1, CHUNK // max(1, height * width * channels))
    for image in range(0, images, together):
        for row in range(0, height, rows):
            part = np.s_[image : image + together, row : row + rows]
            for channel in range(channels):
                source = pixels[(*part, slice(None), channel)]
                target[channel][part] = table[channel].take(source, mode="clip")
    return made


@lru_cache(8)
def _table(rules: TensorRules, channels: int) -> Array:
    """The number that each of the 256 values of a pixel becomes, [channels, 256].

    A table gives the same bits as calculating each number, and takes no longer; for 16-bit types
    and for channels that come last it takes a quarter to a half of the time.
    """
    values = np.arange(256, dtype=np.float32)
    made = np.stack([_normalized(values, rules, channel) for channel in range(channels)])
    return _bfloat16(made) if rules.dtype == "bfloat16" else made.astype(rules.stored)


def _normalized(
    values: npt.NDArray[np.float32], rules: TensorRules, channel: int
) -> npt.NDArray[np.float32]:
    how = rules.normalization or Normalization()
    mean, std = (each[channel % len(each)] for each in (how.mean, how.std))
    made = values / np.float32(how.divisor) - np.float32(mean)
    return made / np.float32(std)


def _bfloat16(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The upper halves of float32, rounded to the nearest, ties to even."""
    bits = numbers.view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)


def read_normalization(
    text: Mapping[str, str], channels: int, bgr: bool, refuse: Callable[[str], Exception]
) -> Normalization | None:
    """Read `preprocess.normalize`, `.scale`, `.mean` and `.std`; None: none of them is set.

    A preset's values are for red, green, blue, and are reversed where the model takes blue first;
    a mean and std that are set are in the order of the model's channels. A value that is set in
    addition to a preset replaces that part of it.

    Raises:
        Exception: what `refuse` makes from a value that cannot be used.
    """
    if not any(f"preprocess.{key}" in text for key in ("normalize", "scale", "mean", "std")):
        return None
    name = text.get("preprocess.normalize", "none").strip().lower()
    if name not in PRESETS:
        raise refuse(
            f"parameter preprocess.normalize is {name!r}, expected one of {', '.join(PRESETS)}"
        )
    preset = PRESETS[name]

    def each(key: str, usual: tuple[float, ...]) -> tuple[float, ...]:
        told = text.get(f"preprocess.{key}")
        if told is None:
            values = tuple(reversed(usual)) if bgr else usual
        else:
            values = tuple(number(f"preprocess.{key}", one, refuse) for one in words(told))
        if len(values) not in (1, channels):
            where = f"parameter preprocess.{key}" if told is not None else f"preset {name}"
            raise refuse(
                f"{where} has {len(values)} values of {key}, and the input has {channels} "
                f"{'channel' if channels == 1 else 'channels'}: "
                + (
                    f"set preprocess.{key} to one number, or to {channels}"
                    if told is not None
                    else "set preprocess.scale, .mean and .std instead, or preprocess.normalize = "
                    "unit (0 to 1)"
                )
            )
        return values

    divisor = preset.divisor
    if "preprocess.scale" in text:
        scale = number("preprocess.scale", text["preprocess.scale"], refuse)
        # 0.00392156862745 is the inverse of 255 in float32, so that both spellings give the same.
        divisor = 1 / scale if scale else 0.0
    std = each("std", preset.std)
    if not divisor or not all(std):
        raise refuse("parameters preprocess.scale and preprocess.std must not be 0")
    return Normalization(divisor, each("mean", preset.mean), std)


def words(text: str) -> list[str]:
    """The parts of a list that is separated by commas, or by spaces."""
    return text.replace(",", " ").split()


def number(key: str, text: str, refuse: Callable[[str], Exception]) -> float:
    """A number such as 0.5 or 1/255."""
    above, _, below = text.partition("/")
    try:
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise refuse(f"parameter {key} is {text[:40]!r}, expected numbers such as 0.5 or 1/255")
    return value
