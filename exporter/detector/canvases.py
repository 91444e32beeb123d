"""Canvases: shipped CIFAR-10 images, scaled and placed on a background, with their boxes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cli.paths import DATA

SIDE = 128
"""Width and height of a canvas in pixels."""
LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
MOST = 4
"""Most objects on a canvas; there is at least one."""
SIDES = (36, 72)
"""Shortest and longest side of an object in pixels."""
ASPECT = 1.3
"""Largest factor by which an object is stretched in one direction."""
GAP = 2
"""Fewest pixels between objects, so that each is seen whole."""
TRIES = 30
"""Number of places that are tried for an object before it is left out."""
TRAINED = 700
"""Number of the 1,000 images, the first ones, for training; the others are held out."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Images:
    """CIFAR-10 images.

    Attributes:
        pixels: uint8 [n, 32, 32, 3].
        classes: [n], indices into `LABELS`.
    """

    pixels: Pixels
    classes: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture and the objects on it.

    Attributes:
        pixels: uint8 [SIDE, SIDE, 3].
        boxes: float32 [n, 4], left, top, right, bottom in pixels.
        classes: int64 [n], indices into `LABELS`.
    """

    pixels: Pixels
    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


def shipped(path: Path = DATA / "cifar10_test_1000.npz") -> tuple[Images, Images]:
    """The images that the project ships: those for training, and the held-out ones."""
    with np.load(path) as data:
        images, labels = data["images"], data["labels"]
    trained = Images(images[:TRAINED], labels[:TRAINED])
    return trained, Images(images[TRAINED:], labels[TRAINED:])


def canvases(images: Images, seed: int) -> Iterator[Canvas]:
    """Endless canvases, equal for equal images and seed."""
    rng = np.random.default_rng(seed)
    while True:
        yield _canvas(images, rng)


def _canvas(images: Images, rng: np.random.Generator) -> Canvas:
    pixels = _background(rng)
    boxes: list[tuple[int, int, int, int]] = []
    classes: list[int] = []
    for _ in range(int(rng.integers(1, MOST + 1))):
        box = _place(boxes, rng)
        if box is None:
            continue
        chosen = int(rng.integers(len(images.pixels)))
        left, top, right, bottom = box
        picture = Image.fromarray(images.pixels[chosen])
        if rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        size = (right - left, bottom - top)
        pixels[top:bottom, left:right] = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
        boxes.append(box)
        classes.append(int(images.classes[chosen]))
    return Canvas(pixels, np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64))


def _background(rng: np.random.Generator) -> Pixels:
    """Soft patches of colour with noise, as a background."""
    cells = int(rng.integers(2, 7))
    coarse = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    noise = rng.normal(0, rng.uniform(0, 12), (SIDE, SIDE, 3))
    noisy = np.asarray(smooth, np.float64) + noise
    made: Pixels = noisy.clip(0, 255).astype(np.uint8)
    return made


def _place(
    boxes: list[tuple[int, int, int, int]], rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """A box that does not touch the others; None: there is no room."""
    for _ in range(TRIES):
        side, stretch = rng.uniform(*SIDES), ASPECT ** (rng.uniform(-1, 1) / 2)
        width, height = round(side * stretch), round(side / stretch)
        left = int(rng.integers(0, SIDE - width + 1))
        top = int(rng.integers(0, SIDE - height + 1))
        right, bottom = left + width, top + height
        if all(
            right + GAP <= other[0]
            or other[2] + GAP <= left
            or bottom + GAP <= other[1]
            or other[3] + GAP <= top
            for other in boxes
        ):
            return left, top, right, bottom
    return None
