"""Masks: a class for each pixel, as a grey PNG."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from bridge.tasks.task import AnswerError, Array, Output, finite
from wire.tensors import MAX_MASK_SIDE

Mask = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

MOST_PIXELS = 1 << 24
"""Pixels of a mask at the most. They bound the time that it takes, however well it can be
compressed."""
LEVEL = 3
"""Compression level of zlib. Masks are large areas, of which a higher level makes hardly less."""

_WHOLE = ("BOOL", "UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "UINT64", "INT64")
_FLOATS = ("FP16", "BF16", "FP32", "FP64")
_MOST = {1: np.iinfo(np.uint8).max, 2: np.iinfo(np.uint16).max}


def may_be_mask(output: Output) -> bool:
    """Whole numbers [height, width] or [1, height, width]; or the scores of some classes for each
    pixel, [classes, height, width]."""
    if output.datatype in _WHOLE:
        return len(output.dims) == 2 or (len(output.dims) == 3 and output.dims[0] == 1)
    return output.datatype in _FLOATS and len(output.dims) == 3 and output.dims[0] != 1


def too_large(pixels: int) -> str:
    return f"its mask has {pixels:,} pixels, {MOST_PIXELS:,} are allowed in a PNG"


def to_mask(values: Array, output: Output) -> Mask:
    """The mask in an output of one image: uint8 where all its values fit, else uint16.

    Raises:
        AnswerError: it has values that are no classes, or it is too large.
    """
    height, width = values.shape[-2:]
    if height * width > MOST_PIXELS or max(height, width) > MAX_MASK_SIDE:
        raise AnswerError("too_large", too_large(height * width))
    if not values.size:
        raise AnswerError(
            "bad_shape", f"the model's mask {output.name} is empty: {list(values.shape)}"
        )
    if output.datatype in _FLOATS:
        finite(values, f"output {output.name}")
        mask = values.argmax(axis=0)
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
    """A grey PNG of 8 or 16 bits."""
    made = io.BytesIO()
    Image.fromarray(mask).save(made, "PNG", compress_level=LEVEL)
    return made.getvalue()
