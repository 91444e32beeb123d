"""What is drawn of answers: boxes over a picture, and images beside similar ones. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from consumer.measuring.answers import Answers, Vector
from consumer.measuring.matching import NO_OFFSET, Rows
from wire.answers import Detections

DETECTED = 12
"""Most images that are shown with their boxes."""
QUERIES, NEAREST = 6, 5
"""Most images whose nearest neighbours are shown, and number of neighbours of each."""
MAX_SIDE = 1 << 20
"""Most pixels of a side: the size that a stranger gives is limited to what SVG can draw."""
COLOURS = 6

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """A box in a picture that is 100 units wide, whatever its size in pixels.

    Attributes:
        colour: 0 to `COLOURS` - 1; equal for equal classes.
    """

    x: float
    y: float
    width: float
    height: float
    label: str
    score: float
    colour: int


@dataclass(frozen=True, slots=True)
class Overlay:
    """Boxes over a picture, with the picture's height in units of which its width has 100."""

    height: float
    boxes: list[Box]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An image that is like another, with the cosine of the angle between their vectors."""

    id: str
    cosine: float
    picture: str | None


@dataclass(frozen=True, slots=True)
class Neighbours:
    id: str
    picture: str | None
    nearest: list[Neighbour]


@dataclass(frozen=True, slots=True)
class Detected:
    id: str
    picture: str | None
    overlay: Overlay
    objects: int


def overlay(answer: Detections) -> Overlay | None:
    """The boxes of an answer; None: the image's size is unknown, so they cannot be placed."""
    if answer.image is None:
        return None
    width, height = answer.image["width"], answer.image["height"]
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        return None
    boxes = []
    for one in answer.found:
        left, top, right, bottom = (
            min(max(side, 0), most) * 100 / width
            for side, most in zip(one["box"], (width, height, width, height), strict=True)
        )
        if right > left and bottom > top:
            boxes.append(
                Box(
                    left, top, right - left, bottom - top, one["label"], one["score"],
                    one["class_id"] % COLOURS,
                )
            )  # fmt: skip
    return Overlay(100 * height / width, boxes)


def chosen(rows: Rows, answers: Answers) -> tuple[list[str], dict[str, list[tuple[str, float]]]]:
    """Ids of the images to show with boxes; and the neighbours of each image to show them for."""
    known = {name for name, offset in zip(rows.ids, rows.offset.tolist(), strict=True)
             if offset != NO_OFFSET}  # fmt: skip
    detected = [name for name, one in answers.boxes.items() if one.found and name in known]
    return detected[:DETECTED], nearest(
        {name: vector for name, vector in answers.vectors.items() if name in known}
    )


def nearest(
    vectors: Mapping[str, Vector],
) -> dict[str, list[tuple[str, float]]]:
    """The most similar images, by cosine, for some images that are evenly spread over the run.

    Only vectors of the most frequent length are compared, and none that is all 0.
    """
    lengths = [len(one) for one in vectors.values()]
    if not lengths:
        return {}
    length = max(set(lengths), key=lambda one: (lengths.count(one), one))
    ids = [name for name, one in vectors.items() if len(one) == length and one.any()]
    if len(ids) < 2:
        return {}
    matrix = np.stack([vectors[name] for name in ids]).astype(np.float64)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    found = {}
    for place in np.unique(np.linspace(0, len(ids) - 1, QUERIES).round().astype(int)).tolist():
        cosines = matrix @ matrix[place]
        order = np.argsort(-cosines, kind="stable")
        found[ids[place]] = [
            (ids[other], float(cosines[other])) for other in order.tolist() if other != place
        ][:NEAREST]
    return found


def places(rows: Rows, answers: Answers) -> set[Place]:
    """Partition and offset of the images to show."""
    at = _places(rows)
    detected, likenesses = chosen(rows, answers)
    wanted = {*detected, *likenesses, *(name for near in likenesses.values() for name, _ in near)}
    return {at[name] for name in wanted}


def shown(
    rows: Rows, answers: Answers, pictures: Mapping[Place, str]
) -> tuple[list[Detected], list[Neighbours]]:
    """The images to show with their boxes, and those to show with their neighbours."""
    at = _places(rows)
    names, likenesses = chosen(rows, answers)
    detected = []
    for name in names:
        answer = answers.boxes[name]
        drawn = overlay(answer)
        if drawn is not None:
            detected.append(Detected(name, pictures.get(at[name]), drawn, len(answer.found)))
    neighbours = [
        Neighbours(
            name,
            pictures.get(at[name]),
            [Neighbour(other, cosine, pictures.get(at[other])) for other, cosine in near],
        )
        for name, near in likenesses.items()
    ]
    return detected, neighbours


def _places(rows: Rows) -> dict[str, Place]:
    return {
        name: (partition, offset)
        for name, partition, offset in zip(
            rows.ids, rows.partition.tolist(), rows.offset.tolist(), strict=True
        )
        if offset != NO_OFFSET
    }
