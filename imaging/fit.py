"""From an image that is open to exactly the pixels that a model takes."""

import numpy as np
from PIL import Image, ImageOps

from imaging.rules import ImageError, ImageRules, Pixels

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def fit(image: Image.Image, rules: ImageRules) -> Pixels:
    """Decode an opened image into the model's pixels: turned, coloured, resized and cropped.

    Raises:
        ImageError: its size is not what the model takes.
    """
    assert rules.shape is not None
    height, width, channels = rules.shape
    resize = rules.preprocess.resize
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
        picture = _resize_and_crop(picture, resize, width, height, rules.preprocess.interpolation)
    pixels: Pixels = np.asarray(picture, np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(pixels[:, :, ::-1]) if rules.preprocess.bgr else pixels


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
