"""Masks: a class for each pixel, as a grey PNG."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from bridge.tasks.classify import activate
from bridge.tasks.task import AnswerError, Array, Output, finite
from imaging.rules import Shape
from wire.tensors import MAX_MASK_SIDE

Mask = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

MOST_PIXELS = 1 << 24
"""Most pixels of a mask. They bound the time that it takes, however well it can be compressed."""
LEVEL = 3
"""Compression level of zlib. A higher level makes masks, which are large areas, hardly smaller."""

_WHOLE = ("BOOL", "UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "UINT64", "INT64")
_FLOATS = ("FP16", "BF16", "FP32", "FP64")
_MOST = {1: np.iinfo(np.uint8).max, 2: np.iinfo(np.uint16).max}


@dataclass(frozen=True, slots=True)
class MaskRules:
    """How numbers become a mask.

    Attributes:
        activation: none or sigmoid: turns the numbers of a single class into scores.
        threshold: lowest score with which a pixel is of that class.
        image: shape of the model's input if it is known; it shows which of an output's sizes are
            those of a picture, and which is the number of classes.
    """

    activation: str = "none"
    threshold: float = 0.5
    image: Shape | None = None

    def classes_last(self, output: Output) -> bool:
        """Whether an output is [height, width, classes], as TensorFlow's models give it."""
        return (
            self.image is not None
            and len(output.dims) == 3
            and output.dims[:2] == self.image[:2]
            and output.dims[1:] != self.image[:2]
        )


def may_be_mask(output: Output) -> bool:
    """Whether an output holds the class of each pixel, or the scores of the classes for each pixel.

    Such an output is whole numbers [height, width], [1, height, width] or [height, width, 1], or
    floating-point numbers [classes, height, width] or [height, width, classes], also with one
    class.
    """
    if output.datatype in _WHOLE:
        return len(output.dims) == 2 or (len(output.dims) == 3 and 1 in output.dims[::2])
    return output.datatype in _FLOATS and len(output.dims) in (2, 3)


def too_large(pixels: int) -> str:
    return f"its mask has {pixels:,} pixels, {MOST_PIXELS:,} are allowed in a PNG"


def to_mask(values: Array, output: Output, rules: MaskRules) -> Mask:
    """The mask in an output of one image: uint8 where all its values fit, else uint16.

    Raises:
        AnswerError: a value is no class, or the mask is too large.
    """
    if not values.size:
        raise AnswerError(
            "bad_shape", f"the model's mask {output.name} is empty: {list(values.shape)}"
        )
    last = rules.classes_last(output) or (output.datatype in _WHOLE and values.shape[-1] == 1)
    if values.ndim == 3 and last:
        values = np.moveaxis(values, -1, 0)
    height, width = values.shape[-2:]
    if height * width > MOST_PIXELS or max(height, width) > MAX_MASK_SIDE:
        raise AnswerError("too_large", too_large(height * width))
    if output.datatype in _FLOATS:
        finite(values, f"output {output.name}")
        scores = values.reshape(-1, height, width)
        if len(scores) > 1:
            mask = scores.argmax(axis=0)
        else:
            mask = activate(scores[0], rules.activation) >= rules.threshold
    else:
        mask = values.reshape(height, width)
    least, most = int(mask.min()), int(mask.max())
    if least < 0 or most > _MOST[2]:
        raise AnswerError(
            "bad_class",
            f"the model's mask {output.name} has values from {least} to {most}, a PNG has 0 to "
            f"{_MOST[2]}",
        )
    made: Mask = mask.astype(np.uint8 if most <= _MOST[1] else np.uint16)
    return made


def to_png(mask: Mask) -> bytes:
    """The mask as a grey PNG of 8 or 16 bits."""
    made = io.BytesIO()
    Image.fromarray(mask).save(made, "PNG", compress_level=LEVEL)
    return made.getvalue()
