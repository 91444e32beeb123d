"""Predictions and dead letters as lines: text for people, CSV and JSON for programs. Pure."""

import csv
import io
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import NamedTuple

import orjson

from wire.answers import Detections, describe
from wire.deadletter import decode_dead_letter, one_line
from wire.image import image_id
from wire.prediction import Prediction, decode_prediction
from wire.record import ContractError, KafkaRecord, StoredRecord

COLUMNS = ("id", "label", "score", "left", "top", "right", "bottom", "note")
MAX_TEXT = 200
"""Most characters of an id or a label in a line of text: both come from strangers."""


class Format(StrEnum):
    TEXT = "text"
    CSV = "csv"
    JSON = "json"


class Found(NamedTuple):
    """One line: an image's best class, one object in it, or the reason why there is neither.

    Attributes:
        box: left, top, right, bottom in pixels.
        note: text about an answer without labels, or the reason of a dead letter.
        failed: whether it is a dead letter, or cannot be read.
    """

    id: str
    label: str = ""
    score: float | None = None
    box: tuple[float, ...] = ()
    note: str = ""
    failed: bool = False


def found_in(
    record: StoredRecord,
    *,
    dead_letter: bool,
    decode: Callable[[KafkaRecord], Prediction] = decode_prediction,
) -> list[Found]:
    """The lines of a prediction or a dead letter: for a detection one for each object, otherwise
    one.

    Args:
        decode: reads a prediction; raises ContractError.
    """
    name = image_id(record)
    if record.unreadable is not None:
        return [Found(name, note=one_line(record.unreadable), failed=True)]
    if dead_letter:
        letter = decode_dead_letter(record)
        reason = f"{letter.stage}/{letter.error_class}: {letter.message}"
        return [Found(name, note=one_line(reason), failed=True)]
    try:
        return list(_answers(decode(record)))
    except ContractError as error:
        return [Found(name, note=one_line(str(error)), failed=True)]


def _answers(prediction: Prediction) -> Iterator[Found]:
    name, answer = prediction.id, prediction.answer
    if isinstance(answer, Detections) and answer.found:
        for one in answer.found:
            yield Found(name, one["label"], one["score"], tuple(one["box"]))
    elif answer is not None:
        yield Found(name, note=describe(answer))
    elif prediction.top:
        yield Found(name, prediction.top[0]["label"], prediction.top[0]["score"])
    else:
        yield Found(name, note="no label")


def header(form: Format) -> str | None:
    """The first line; None: there is none."""
    return _csv(COLUMNS) if form is Format.CSV else None


def line_of(found: Found, form: Format, paint: Callable[[str], str] = str) -> str:
    """One line, without its end.

    Args:
        paint: makes the text about a failure stand out, on a terminal that can show it.
    """
    score = "" if found.score is None else f"{found.score:.6g}"
    if form is Format.CSV:
        box = found.box or ("",) * 4
        return _csv((found.id, found.label, score, *map(str, box), found.note))
    if form is Format.JSON:
        body: dict[str, object] = {"id": found.id}
        if found.score is not None:
            body |= {"label": found.label, "score": found.score}
        if found.box:
            body["box"] = found.box
        if found.note:
            body["error" if found.failed else "note"] = found.note
        return orjson.dumps(body).decode()
    name = one_line(found.id)[:MAX_TEXT]
    if found.score is None:
        return f"{name}  {paint(found.note) if found.failed else found.note}"
    sides = " ".join(f"{side:g}" for side in found.box)
    label = one_line(found.label)[:MAX_TEXT]
    return f"{name}  {label}  {found.score:.3f}" + (f"  {sides}" if sides else "")


def _csv(cells: tuple[str, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()
