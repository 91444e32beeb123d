"""What tests send to a bridge between a real Kafka and a real Triton, and what comes back."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import Message

from producer.encoding import EncodedImage, Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from tests.conftest import Topics
from tests.kafka_client import collect
from tests.waiting import eventually
from wire.image import encode_image, image_id
from wire.prediction import Prediction, decode_prediction
from wire.record import Outgoing

GOOD = cifar10(Encoding.PNG)[0]
RAW = cifar10(Encoding.RAW)[0]
RIGHT_OF_1000 = 915
"""What these weights get right of the shipped images in float32."""


def as_record(image: EncodedImage, name: str) -> Outgoing:
    now = time.time_ns()
    return encode_image(
        id=name, value=image.value, content_type=image.content_type, source="test",
        intended_ns=now, sent_ns=now, label=image.label, dtype=image.dtype, shape=image.shape,
    )  # fmt: skip


def as_records(images: Sequence[EncodedImage], count: int | None = None) -> list[Outgoing]:
    total = len(images) if count is None else count
    return [as_record(images[i % len(images)], f"image-{i}") for i in range(total)]


def ids(messages: Iterable[Message]) -> Counter[str]:
    return Counter(image_id(message) for message in messages)


def collect_answers(kafka: Kafka, topics: Topics, count: int) -> list[Message]:
    """Predictions and dead letters, until `count` different images have one."""
    return collect(
        kafka.bootstrap,
        [topics.predictions, topics.dead_letters],
        lambda messages: len(ids(messages)) >= count,
    )


def predictions(messages: Iterable[Message], topics: Topics) -> list[Prediction]:
    return [decode_prediction(m) for m in messages if m.topic() == topics.predictions]


def right(images: Sequence[EncodedImage], answers: Iterable[Prediction]) -> int:
    labels = {f"image-{i}": image.label for i, image in enumerate(images)}
    return sum(answer.top[0]["label"] == labels[answer.id] for answer in answers)


def wait_for(condition: Any, timeout_s: float = 120) -> None:
    """Wait for a condition on a bridge that may not be listening yet.

    Raises:
        AssertionError: it does not come true.
    """
    eventually(lambda: _holds(condition), timeout_s=timeout_s)


def _holds(condition: Any) -> bool:
    try:
        return bool(condition())
    except (OSError, KeyError):  # not listening yet, not counted yet
        return False
