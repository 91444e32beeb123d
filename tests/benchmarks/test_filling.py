"""A topic is filled with each image once, by however many processes."""

import uuid

import pytest
from confluent_kafka import Consumer, TopicPartition

from benchmarks import filling
from benchmarks.filling import fill_images
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.topics import create_topics

PARTITIONS = 4


def keys(kafka: Kafka, topic: str, count: int) -> list[bytes]:
    """The keys of `count` records, and of one more if there is one."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": uuid.uuid4().hex})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found: list[bytes] = []
    try:
        while messages := consumer.consume(500, 20 if len(found) < count else 0.5):
            found += [message.key() for message in messages if isinstance(message.key(), bytes)]  # type: ignore[misc]  # mypy does not narrow a call
    finally:
        consumer.close()
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_each_image_is_there_once(
    kafka: Kafka, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "SHARE", 100)
    topic = uuid.uuid4().hex
    create_topics(kafka.bootstrap, {topic: PARTITIONS})
    fill_images(kafka.bootstrap, topic, cifar10(Encoding.RAW, limit=7), 301, processes)
    found = keys(kafka, topic, 301)
    assert sorted(found) == sorted(f"b{index}".encode() for index in range(301))
