"""Turns an opened image into exactly the pixels that a model takes."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from imaging.orientation import LYING, TRANSPOSE, UPRIGHT
from imaging.rules import ImageError, ImageRules, Pixels

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
LETTERBOX_GREY = 114
"""The grey with which the YOLO family pads images in training."""


class Placement(NamedTuple):
    """The place of an upright picture in a model's input, in pixels.

    Attributes:
        width, height: size to which the picture is scaled.
        left, top: corner of the input in the scaled picture; negative where letterbox pads.
    """

    width: int
    height: int
    left: int
    top: int


def place(size: tuple[int, int], rules: ImageRules) -> Placement:
    """The placement of an upright picture of this (width, height).

    Raises:
        ImageError: the picture must have the input's size but has another.
    """
    assert rules.shape is not None
    height, width, _ = rules.shape
    resize = rules.preprocess.resize
    match rules.preprocess.fit or (resize and "cover"):
        case "cover":
            scaled = _cover(size, width, height, resize or 0)
        case "letterbox":
            ratio = min(width / size[0], height / size[1])
            scaled = (max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio)))
        case "exact":
            scaled = (width, height)
        case _:
            if size != (width, height):
                raise ImageError(
                    "shape",
                    f"{size[0]} x {size[1]}, the model takes {width} x {height}; images of other "
                    "sizes are resized where preprocess.fit says how: cover, exact or letterbox",
                )
            scaled = size
    return Placement(*scaled, _start(scaled[0], width), _start(scaled[1], height))


def _start(scaled: int, wanted: int) -> int:
    # Halves are rounded as in torchvision's CenterCrop and in the YOLO family's letterbox.
    return round((scaled - wanted) / 2) if scaled >= wanted else -((wanted - scaled) // 2)


def _cover(size: tuple[int, int], width: int, height: int, resize: int) -> tuple[int, int]:
    """Width and height once the shorter one is `resize`, and neither is below the input's."""
    # Fractions are cut off as in torchvision's Resize, so that accuracy matches its recipes.
    shorter = min(size)
    scaled = (size[0] * resize // shorter, size[1] * resize // shorter)
    if scaled[0] >= width and scaled[1] >= height:
        return scaled
    if width * size[1] >= height * size[0]:
        return width, size[1] * width // size[0]
    return size[0] * height // size[1], height


def fit(image: Image.Image, rules: ImageRules, orientation: int = UPRIGHT) -> Pixels:
    """Decode an opened image into the model's pixels: turned, coloured, resized and cropped.

    Raises:
        ImageError: the model does not take an image of its size.
    """
    assert rules.shape is not None
    height, width, channels = rules.shape
    turned = orientation >= LYING
    upright = image.size[::-1] if turned else image.size
    where = place(upright, rules)
    wanted = (where.width, where.height)
    # For JPEG only: decode at a reduced scale that is still at least as large as needed.
    image.draft(None, wanted[::-1] if turned else wanted)
    picture = coloured(image, "L" if channels == 1 else "RGB")
    if orientation in TRANSPOSE:
        picture = picture.transpose(TRANSPOSE[orientation])
    picture = _put(picture, where, width, height, _RESAMPLING[rules.preprocess.interpolation])
    pixels: Pixels = np.asarray(picture, np.uint8)
    if channels == 1:
        pixels = pixels[:, :, np.newaxis]
    assert pixels.shape == rules.shape
    return np.ascontiguousarray(pixels[:, :, ::-1]) if rules.preprocess.bgr else pixels


def coloured(image: Image.Image, mode: str) -> Image.Image:
    """The decoded image with 8 bits for each channel, as mode L or RGB.

    Transparency is removed: the colours of transparent pixels show, as in torchvision's RGB mode.
    Of 16 bits, the upper 8 are kept.
    """
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    else:
        image.load()
    return image if image.mode == mode else image.convert(mode)


def _put(
    picture: Image.Image, where: Placement, width: int, height: int, by: Image.Resampling
) -> Image.Image:
    if where.left < 0 or where.top < 0:
        if picture.size != (where.width, where.height):
            picture = picture.resize((where.width, where.height), by)
        grey = LETTERBOX_GREY if picture.mode == "L" else (LETTERBOX_GREY,) * 3
        canvas = Image.new(picture.mode, (width, height), grey)
        canvas.paste(picture, (-where.left, -where.top))
        return canvas
    if picture.size != (where.width, where.height):
        # Only the part that is kept is scaled: its pixels are the same, except for rounding.
        x, y = picture.width / where.width, picture.height / where.height
        left, top = where.left, where.top
        box = (left * x, top * y, (left + width) * x, (top + height) * y)
        return picture.resize((width, height), by, box)
    if picture.size != (width, height):
        picture = picture.crop((where.left, where.top, where.left + width, where.top + height))
    return picture
