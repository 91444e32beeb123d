"""Maps the pixels of a model's input to the image from which they were made."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.fit import place
from imaging.rules import ImageRules, Preprocess, Shape, Size


@dataclass(frozen=True, slots=True)
class Geometry:
    """How an image was put into a model's input: scaled, then moved.

    Attributes:
        scale: input pixels for each pixel of the image, across and down.
        offset: where the image's left upper corner is in the input, in input pixels; negative
            where the image was cropped, positive where it has a border.
        size: width and height of the image.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]
    size: Size

    def to_image(self, boxes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Convert boxes [n, 4] (left, top, right, bottom) of the input to boxes within the
        image."""
        offset, scale = np.array(self.offset * 2), np.array(self.scale * 2)
        found = (boxes.astype(np.float64) - offset) / scale
        clipped: npt.NDArray[np.float64] = np.clip(found, 0, np.array(self.size * 2, np.float64))
        return clipped


def geometry(size: Size | None, shape: Shape, preprocess: Preprocess) -> Geometry:
    """How an image of this size is put into an input of this shape; None: it was the input."""
    height, width, _ = shape
    if size is None:
        return Geometry((1, 1), (0, 0), (width, height))
    where = place(size, ImageRules(shape, preprocess, max_bytes=0, max_pixels=0))
    scale = (where.width / size[0], where.height / size[1])
    return Geometry(scale, (-where.left, -where.top), size)
