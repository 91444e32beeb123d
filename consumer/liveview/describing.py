"""The page's data about an image, taken from its records. They come from strangers, so texts and
numbers are bounded."""

from typing import Any

import numpy as np
import numpy.typing as npt

from consumer.liveview.recent import Item, Picture
from consumer.measuring.statistics import STAGES
from consumer.report.overlay import overlay
from wire.answers import FLOAT32, Detection, Detections, Embedding, describe
from wire.clock import kafka_time
from wire.image import NDARRAY, ImageEvent, image_id
from wire.object_events import Named, find_objects, may_refer
from wire.prediction import Prediction
from wire.record import ContractError, KafkaRecord, first_headers, raw_bytes
from wire.reference import BadReferenceError, Reference, parse_reference
from wire.wrappings.unwrap import read_image

MAX_TEXT = 120
"""Most characters that are kept of a label, a model's name and the like."""
MAX_TOP = 5
"""Most labels that are kept of an answer."""
MAX_BOXES = 12
"""Most boxes that are drawn over a picture: those with the highest scores."""
MAX_DIMENSIONS = 1024
"""Most numbers that are kept of a vector: 4 KB for each image."""
_LARGEST = (1 << 31) - 1
_LATEST_MS = 8_640_000_000_000_000  # the largest time of JavaScript's Date


def read_pictures(record: KafkaRecord, field: str) -> list[tuple[ImageEvent, Picture]]:
    """The images of a record with what is known of each; a record may refer to several.

    Args:
        field: path of the field of a JSON message that holds a URL; empty: no field does.
    """
    kafka_ns = kafka_time(record)
    try:
        image, value = read_image(record)
    except ContractError:
        # Its dead letter will say what is wrong; until then the page shows that it came.
        image = ImageEvent(image_id(record), None, None, None, kafka_ns, kafka_ns)
        value = raw_bytes(record.value())
    found = objects_of(record, image, value, field)
    if found is None:
        return [(image, Picture(value, image.content_type, image.dtype, image.shape))]
    pictures = []
    for named in found:
        own = image._replace(
            id=named.id or image.id, intended_ns=named.intended_ns or image.intended_ns
        )
        where = named.reference if isinstance(named.reference, Reference) else None
        pictures.append((own, Picture(b"", own.content_type, own.dtype, own.shape, where)))
    return pictures


def note_image(item: Item, image: ImageEvent, picture: Picture) -> None:
    """Copy to the item what an image's record says."""
    item.due_ms = _bounded(image.intended_ns // 1_000_000, _LATEST_MS)
    item.content_type = text(image.content_type or "")
    item.source = text(image.source or "")
    item.truth = None if image.label is None else text(image.label)
    where = picture.reference
    item.size = len(picture.value) if where is None else where.size or 0


def note_answer(item: Item, prediction: Prediction, at_ns: int) -> tuple[int, list[int]]:
    """Copy to the item what a prediction says.

    Args:
        at_ns: when the prediction was read; epoch nanoseconds.

    Returns:
        The latency, and the time of each stage, in microseconds.
    """
    times = {**prediction.stamps, "consumed": at_ns}
    stages_us = [(times[end] - times[start]) // 1000 for _, start, end in STAGES]
    latency_us = (at_ns - times["intended"]) // 1000
    item.top = tuple((text(one["label"]), one["score"]) for one in prediction.top[:MAX_TOP])
    if prediction.answer is not None:
        item.says = text(describe(prediction.answer))
        if isinstance(prediction.answer, Embedding):
            item.vector = _unit(prediction.answer)
        if isinstance(prediction.answer, Detections):
            found = prediction.answer.found[:MAX_TOP]
            shown = tuple(
                Detection(
                    label=text(one["label"]), class_id=one["class_id"], score=one["score"],
                    box=one["box"],
                )
                for one in prediction.answer.found[:MAX_BOXES]
            )  # fmt: skip
            item.overlay = overlay(Detections(shown, prediction.answer.image))
            item.top = tuple((text(one["label"]), one["score"]) for one in found)
    item.due_ms = _bounded(prediction.stamps["intended"] // 1_000_000, _LATEST_MS)
    item.model = text(f"{prediction.model} version {prediction.version}")
    item.batch_size = _bounded(prediction.batch_size, _LARGEST)
    item.latency_ms = latency_us / 1000
    item.stages_ms = tuple(spent / 1000 for spent in stages_us)
    return latency_us, stages_us


def card(item: Item, *, picture: bool) -> dict[str, Any]:
    """The page's data of an item; `picture`: whether its image is still kept."""
    return {
        "number": item.number,
        "id": item.id,
        "state": item.state,
        "picture": picture,
        "where": item.where,
        "due_ms": item.due_ms,
        "content_type": item.content_type,
        "source": item.source,
        "size": item.size,
        "truth": item.truth,
        "right": item.right,
        "top": item.top,
        "says": item.says,
        "overlay": item.overlay,
        "vector": item.vector is not None,
        "model": item.model,
        "batch_size": item.batch_size,
        "latency_ms": item.latency_ms,
        "stages_ms": item.stages_ms,
        "reason": item.reason,
    }


def objects_of(
    record: KafkaRecord, image: ImageEvent, value: bytes, field: str
) -> list[Named] | None:
    """The objects that a message refers to; None: it refers to none."""
    if value:
        if not may_refer(value) or image.content_type == NDARRAY:
            return None
        return find_objects(value, first_headers(record.headers()), field)
    if image.dataref is None:
        return None
    try:
        return [Named(parse_reference(image.dataref))]
    except BadReferenceError as error:
        return [Named(error)]


def text(whole: str) -> str:
    return whole if len(whole) <= MAX_TEXT else whole[: MAX_TEXT - 1] + "…"


def _bounded(number: int, largest: int) -> int:
    return min(max(number, 0), largest)


def _unit(answer: Embedding) -> npt.NDArray[np.float32] | None:
    """A vector scaled to length 1; None: its length is 0."""
    values = np.frombuffer(answer.values, FLOAT32)[:MAX_DIMENSIONS].astype(np.float64)
    length = float(np.linalg.norm(values))
    return (values / length).astype(np.float32) if length else None
