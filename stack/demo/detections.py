"""The demo of a detector: its canvases, the detections on them, and pictures of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from exporter.detector.canvases import LABELS, SIDE, Canvas, canvases, shipped
from exporter.detector.score import Found, Score, score
from wire.answers import Detections

SEED = 1
SHOWN, COLUMNS, SCALE = 12, 4, 2
"""Number of canvases in the picture, number in a row, and the factor of their enlargement."""
SURE = 0.5
"""Lowest score of the boxes that are drawn."""
COLOURS = (
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#9c755f", "#b07aa1", "#76b7b2", "#d37295",
    "#3b6fd4", "#8c6d00",
)  # fmt: skip
"""Colours of the boxes, by class; white text can be read on each."""


@dataclass(frozen=True, slots=True)
class Detecting:
    """Canvases in a folder, in the order of their files' names."""

    folder: Path
    canvases: tuple[Canvas, ...]


def write_canvases(folder: Path, count: int) -> Detecting:
    """Write canvases of held-out images as PNG files."""
    folder.mkdir(parents=True)
    made = tuple(islice(canvases(shipped()[1], SEED), count))
    for number, canvas in enumerate(made):
        Image.fromarray(canvas.pixels).save(folder / f"{number:05}.png")
    return Detecting(folder, made)


def number_of(id: str) -> int:
    """The number of a canvas, from the id of its image, which is its file's name."""
    return int(id.removesuffix(".png"))


def judge(shown: Detecting, said: Mapping[int, Detections]) -> Score:
    """Compare the detections on each canvas, by its number, with the objects on it."""
    truths = [Found(one.boxes, one.classes, np.empty(0)) for one in shown.canvases]
    nothing = Detections(())
    return score(
        truths, [_found(said.get(number, nothing)) for number in range(len(shown.canvases))]
    )


def _found(answer: Detections) -> Found:
    return Found(
        np.array([one["box"] for one in answer.found], float).reshape(-1, 4),
        np.array([one["class_id"] for one in answer.found], int),
        np.array([one["score"] for one in answer.found], float),
    )


def draw_examples(shown: Detecting, said: Mapping[int, Detections], path: Path) -> None:
    """Write a picture of the first canvases with the boxes that were found."""
    numbers = range(min(SHOWN, len(shown.canvases)))
    gap, side = 8, SIDE * SCALE
    rows = -(-len(numbers) // COLUMNS)
    sheet = Image.new(
        "RGB", (COLUMNS * (side + gap) + gap, rows * (side + gap) + gap), (255, 255, 255)
    )
    for number in numbers:
        picture = _drawn(shown.canvases[number], said.get(number, Detections(())))
        row, column = divmod(number, COLUMNS)
        sheet.paste(picture, (gap + column * (side + gap), gap + row * (side + gap)))
    sheet.save(path)


def _drawn(canvas: Canvas, answer: Detections) -> Image.Image:
    picture = Image.fromarray(canvas.pixels)
    picture = picture.resize((SIDE * SCALE, SIDE * SCALE), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12)
    for one in reversed(answer.found):  # the surest on top
        if one["score"] < SURE:
            continue
        left, top, right, bottom = (side * SCALE for side in one["box"])
        colour = COLOURS[one["class_id"] % len(LABELS)]
        draw.rectangle((left, top, right, bottom), outline=colour, width=2)
        text = f"{one['label']} {one['score']:.2f}"
        width = draw.textlength(text, font=font)
        start = (min(left, SIDE * SCALE - width - 6), max(top - 15, 0))
        draw.rectangle((*start, start[0] + width + 6, start[1] + 15), fill=colour)
        draw.text((start[0] + 3, start[1]), text, fill="white", font=font)
    return picture
