"""The outcome of each image, for readers who look up an id in the report. Pure."""

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
"""Most images that a page holds, at some 100 bytes each."""
ID_LENGTH = 256
"""Most characters of an id: as many as the contract allows."""
NAME_LENGTH = 80


def stories(rows: Rows) -> str:
    """The images of a run as JSON that is safe inside a page's script element.

    Of more than `MOST` images it holds first those without an answer, then those answered wrongly,
    then the first of the others.
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
    """The values of one image, in the order in which find.js reads them."""
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
