"""Records as producers and bridges write them."""

import io
import time

import numpy as np
from PIL import Image

from wire.deadletter import DeadLetter, encode_dead_letter
from wire.image import ImageEvent, decode_image, encode_image
from wire.prediction import Prediction, ScoredLabel, encode_prediction
from wire.record import Outgoing, StoredRecord

MS = 1_000_000
NOW_NS = 1_800_000_000_000_000_000


def png(size: int = 8, level: int = 200) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def image(
    number: int,
    *,
    id: str | None = None,
    at_ns: int = NOW_NS,
    label: str | None = None,
    value: bytes | None = None,
    content_type: str = "image/png",
) -> Outgoing:
    """Due and sent at `at_ns`."""
    return encode_image(
        id=f"image-{number}" if id is None else id,
        value=png() if value is None else value,
        content_type=content_type,
        source="/camera",
        intended_ns=at_ns,
        sent_ns=at_ns,
        label=label,
    )


def stored(out: Outgoing, topic: str = "images", offset: int = 0) -> StoredRecord:
    return StoredRecord(topic, 0, offset, out.key, out.value, out.headers)


def answer(
    sent: StoredRecord, label: str = "cat", *, took_ms: int = 10, score: float = 0.9
) -> Outgoing:
    """The prediction of an image that took `took_ms` from being sent to Triton's answer."""
    event = decode_image(sent)
    at = event.sent_ns
    stamps = {
        "intended": event.intended_ns,
        "sent": at,
        "received": at + took_ms * MS // 5,
        "decoded": at + took_ms * MS // 5 * 2,
        "requested": at + took_ms * MS // 5 * 3,
        "inferred": at + took_ms * MS,
    }
    top = (
        ScoredLabel(label=label, class_id=3, score=score),
        ScoredLabel(label="dog", class_id=5, score=1 - score),
    )
    return predict(event, Prediction(event.id, "resnet", "1", top, stamps, 4))


def predict(event: ImageEvent, prediction: Prediction) -> Outgoing:
    return encode_prediction(event, event.id.encode(), prediction, "/bridge")


def refuse(sent: StoredRecord, message: str = "not an image") -> Outgoing:
    letter = DeadLetter(
        "decode", "not_an_image", message, sent.record_topic, sent.record_partition,
        sent.record_offset, 1, time.time_ns() // MS,
    )  # fmt: skip
    return encode_dead_letter(sent, letter)
