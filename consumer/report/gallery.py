"""The images worth a look: the slowest, and wrong answers with the highest scores. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from consumer.measuring.answers import Answers
from consumer.measuring.matching import NO_NAME, NO_OFFSET, UNCLASSED, Int64, Rows
from consumer.measuring.statistics import STAGES, Measured
from consumer.report.confusion import labelled
from consumer.report.overlay import Overlay, overlay
from wire.answers import Detections

SLOWEST, WRONG = 12, 24
"""Most images that are shown of the slowest, and of those answered wrongly."""

Place = tuple[int, int]
"""Partition and offset of an image on its topic."""


@dataclass(frozen=True, slots=True)
class Card:
    """One image.

    Attributes:
        score: score of the predicted class; None: it was not classified.
        label: the true label; None: not known.
        parts: (stage, milliseconds) in the order of the stages.
        picture: a data URI; None: there is no picture.
        intended_ns: intended time; epoch nanoseconds.
        batch: images in the request that carried it to Triton.
        place: its partition and offset; None: the image was not read.
        overlay: boxes to draw over it.
    """

    id: str
    predicted: str
    score: float | None
    label: str | None
    latency_ms: float
    parts: list[tuple[str, float]]
    picture: str | None
    intended_ns: int
    batch: int
    place: Place | None
    overlay: Overlay | None = None


def slowest(chosen: Measured) -> Int64:
    """Rows of the measured images with the longest latency, the slowest first."""
    order = np.argsort(-chosen.from_intended, kind="stable")[:SLOWEST]
    found: Int64 = chosen.rows[order]
    return found


def wrong(rows: Rows) -> Int64:
    """Rows of the images answered wrongly, the highest score first."""
    found = np.flatnonzero(labelled(rows) & (rows.best != rows.label))
    surest: Int64 = found[np.argsort(-rows.score[found], kind="stable")[:WRONG]]
    return surest


def places(rows: Rows, chosen: Measured) -> set[Place]:
    """Partition and offset of the images worth a look, where they are known."""
    return {
        (int(rows.partition[row]), int(rows.offset[row]))
        for row in (*wrong(rows).tolist(), *slowest(chosen).tolist())
        if rows.offset[row] != NO_OFFSET
    }


def cards(
    rows: Rows, shown: Int64, pictures: Mapping[Place, str], answers: Answers | None = None
) -> list[Card]:
    boxes = {} if answers is None else answers.boxes
    return [_card(rows, row, pictures, boxes) for row in shown.tolist()]


def _card(
    rows: Rows, row: int, pictures: Mapping[Place, str], boxes: Mapping[str, Detections]
) -> Card:
    times = {name: int(column[row]) for name, column in rows.times.items()}
    best, label = int(rows.best[row]), int(rows.label[row])
    place = (int(rows.partition[row]), int(rows.offset[row]))
    return Card(
        id=rows.ids[row],
        predicted="no answer" if best == NO_NAME else rows.names[best],
        score=None if rows.state[row] & UNCLASSED else float(rows.score[row]),
        label=None if label == NO_NAME else rows.names[label],
        latency_ms=(times["consumed"] - times["intended"]) / 1e6,
        parts=[(name, max(0, times[end] - times[start]) / 1e6) for name, start, end in STAGES],
        picture=pictures.get(place),
        intended_ns=times["intended"],
        batch=int(rows.batch[row]),
        place=None if place[1] == NO_OFFSET else place,
        overlay=overlay(boxes[rows.ids[row]]) if rows.ids[row] in boxes else None,
    )
