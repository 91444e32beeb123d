"""What became of each image, for whoever looks one up in the report by its id. Pure."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from consumer.measuring.matching import (
    ANSWERED,
    DEAD,
    EXPIRED,
    NO_NAME,
    NO_OFFSET,
    Rows,
)
from consumer.measuring.statistics import STAGES
from consumer.report.confusion import labelled
from consumer.units import clipped

MOST = 5000
"""Images that a page holds: some 100 bytes each."""
ID_LENGTH = 256
"""Characters: as many as an id may have by the contract."""
NAME_LENGTH = 80


def stories(rows: Rows) -> str:
    """The images of a run as JSON that can stand inside a page's script element.

    Of more than `MOST` images it holds those without an answer first, then the wrongly answered
    ones, then the first of the others.
    """
    answered = rows.state & ANSWERED != 0
    wrong = labelled(rows) & (rows.best != rows.label)
    order = np.argsort(np.where(answered, np.where(wrong, 1, 2), 0), kind="stable")
    names: dict[int, int] = {}

    def name(index: int) -> int | None:
        return None if index == NO_NAME else names.setdefault(index, len(names))

    found: dict[str, Any] = {
        "all": len(rows.ids),
        "stages": [stage for stage, _, _ in STAGES],
        "images": [_image(rows, row, name) for row in order[:MOST].tolist()],
    }
    found["names"] = [clipped(rows.names[index], NAME_LENGTH) for index in names]
    return json.dumps(found, separators=(",", ":")).replace("<", "\\u003c")


def _image(rows: Rows, row: int, name: Callable[[int], int | None]) -> list[Any]:
    """One image, in the order in which find.js reads it."""
    times = {column: int(values[row]) for column, values in rows.times.items()}
    state, offset = int(rows.state[row]), int(rows.offset[row])
    outcome = next((text for bit, text in _OUTCOMES if state & bit), "no answer")
    parts = [
        round((times[end] - times[start]) / 1e6, 3) if times[start] and times[end] else None
        for _, start, end in STAGES
    ]
    return [
        clipped(rows.ids[row], ID_LENGTH),
        outcome,
        name(int(rows.best[row])),
        round(float(rows.score[row]), 3),
        name(int(rows.label[row])),
        times["intended"] // 1_000_000,
        parts,
        int(rows.batch[row]),
        None if offset == NO_OFFSET else [int(rows.partition[row]), offset],
    ]


_OUTCOMES = ((ANSWERED, "answered"), (EXPIRED, "expired"), (DEAD, "dead-lettered"))
