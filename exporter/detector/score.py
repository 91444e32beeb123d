"""The quality of a detector: mean average precision at an overlap of one half. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]

OVERLAP = 0.5
"""Lowest intersection over union with which a box has found an object."""


@dataclass(frozen=True, slots=True)
class Found:
    """The objects on a picture, or the objects that a detector found on it.

    Attributes:
        boxes: [n, 4], left, top, right, bottom.
        classes: [n].
        scores: [n]; empty for the real objects.
    """

    boxes: Floats
    classes: Floats
    scores: Floats


@dataclass(frozen=True, slots=True)
class Score:
    """The comparison of the found objects with the real ones.

    Attributes:
        mean_average_precision: mean over the classes that occur; over all points of each curve of
            precision by recall, as in Pascal VOC since 2010.
        precision, recall: for the boxes with a score of at least `threshold`.
    """

    mean_average_precision: float
    precision: float
    recall: float
    threshold: float
    objects: int


def overlaps(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union of each box with each other box, [n, m]; 0 for empty boxes."""
    start = np.maximum(boxes[:, None, :2], others[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(end - start, 0, None), axis=2)
    areas, other_areas = (
        np.prod(np.clip(one[:, 2:] - one[:, :2], 0, None), axis=1) for one in (boxes, others)
    )
    union = areas[:, None] + other_areas[None, :] - shared
    made: Floats = np.divide(shared, union, out=np.zeros_like(union, float), where=union > 0)
    return made


def score(truths: Sequence[Found], said: Sequence[Found], threshold: float = 0.5) -> Score:
    """Compare the found objects with the real ones of each picture, given in the same order."""
    kinds = sorted({int(one) for truth in truths for one in truth.classes})
    precisions = []
    right_of_sure = sure = 0
    for kind in kinds:
        right, scores, count = _matches(truths, said, kind)
        precisions.append(_average_precision(right, scores, count))
    for kind in {*kinds, *(int(one) for found in said for one in found.classes)}:
        right, scores, _ = _matches(truths, said, kind)
        sure += int((scores >= threshold).sum())
        right_of_sure += int(right[scores >= threshold].sum())
    objects = sum(len(truth.classes) for truth in truths)
    return Score(
        float(np.mean(precisions)) if precisions else 0.0,
        right_of_sure / sure if sure else 0.0,
        right_of_sure / objects if objects else 0.0,
        threshold,
        objects,
    )


def _matches(
    truths: Sequence[Found], said: Sequence[Found], kind: int
) -> tuple[Floats, Floats, int]:
    """For all boxes of a class, by falling score: whether each found an object that no earlier
    box had found, and its score; and the number of objects.

    A box is compared with the object that it overlaps most, as in Pascal VOC: if that one has been
    found already, the box is wrong.
    """
    right: list[bool] = []
    scores: list[float] = []
    count = 0
    for truth, found in zip(truths, said, strict=True):
        objects = truth.boxes[truth.classes == kind]
        count += len(objects)
        ours = found.classes == kind
        order = np.argsort(-found.scores[ours], kind="stable")
        boxes, sure = found.boxes[ours][order], found.scores[ours][order]
        shares = overlaps(boxes.reshape(-1, 4), objects.reshape(-1, 4))
        taken: set[int] = set()
        for row in shares:
            best = int(row.argmax()) if len(row) else -1
            hit = best >= 0 and row[best] >= OVERLAP and best not in taken
            if hit:
                taken.add(best)
            right.append(hit)
        scores.extend(sure.tolist())
    order = np.argsort(-np.array(scores), kind="stable")
    return np.array(right, bool)[order], np.array(scores)[order], count


def _average_precision(right: Floats, scores: Floats, count: int) -> float:
    """Area under the curve of precision by recall, where precision never rises with recall."""
    if not count or not len(right):
        return 0.0
    # Boxes of equal score are added together: the curve has no point between them.
    last = np.append(scores[1:] != scores[:-1], True)
    hits = np.cumsum(right)
    recall = hits[last] / count
    precision = (hits / np.arange(1, len(right) + 1))[last]
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(recall, prepend=0.0)
    return float((steps * envelope).sum())
