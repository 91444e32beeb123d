"""A topic is filled with each image once, by however many processes."""

import uuid

import pytest

from benchmarks import filling
from benchmarks.filling import fill_images
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.topics import create_topics
from tests.kafka_client import collect, end_offsets

PARTITIONS = 4


@pytest.mark.parametrize("processes", [1, 2])
def test_each_image_is_there_once(
    kafka: Kafka, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "SHARE", 100)
    topic = uuid.uuid4().hex
    create_topics(kafka.bootstrap, {topic: PARTITIONS})
    fill_images(kafka.bootstrap, topic, cifar10(Encoding.RAW, limit=7), 301, processes)
    found = collect(kafka.bootstrap, [topic], lambda messages: len(messages) >= 301)
    keys = {message.key() for message in found}
    assert keys == {f"b{index}".encode() for index in range(301)}
    assert sum(end_offsets(kafka.bootstrap, topic, PARTITIONS).values()) == 301
