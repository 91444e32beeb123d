"""What tests of several packages do with a topic: put messages in, take all of them out."""

import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from wire.record import Outgoing


def send(bootstrap: str, topic: str, records: Iterable[Outgoing], **config: Any) -> None:
    """Produce and wait for every acknowledgement."""
    errors: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 64 << 20, **config})

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            errors.append(error)

    for record in records:
        while True:
            try:
                producer.produce(
                    topic,
                    record.value,
                    record.key,
                    headers=cast("Any", record.headers),
                    on_delivery=delivered,
                )
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0
    assert not errors, errors[0]


@contextmanager
def reading(bootstrap: str, *topics: str) -> Any:
    """A consumer at the start of these topics, of no group."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "tests-commit-nothing",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    try:
        known = consumer.list_topics(timeout=20).topics
        consumer.assign(
            [TopicPartition(topic, p, 0) for topic in topics for p in known[topic].partitions]
        )
        yield consumer
    finally:
        consumer.close()


def collect(
    bootstrap: str,
    topics: Iterable[str],
    enough: Callable[[list[Message]], bool],
    timeout_s: float = 120,
) -> list[Message]:
    """All records of these topics, read until `enough` says so.

    Raises:
        AssertionError: it never did; says how many there were.
    """
    messages: list[Message] = []
    deadline = time.monotonic() + timeout_s
    with reading(bootstrap, *topics) as consumer:
        while not enough(messages):
            assert time.monotonic() < deadline, f"only {len(messages)} records came"
            for message in consumer.consume(500, 0.2):
                assert message.error() is None, message.error()
                messages.append(message)
    return messages


def committed(bootstrap: str, group: str, topic: str, partitions: int) -> dict[int, int]:
    """The group's committed offset of each partition that has one."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    try:
        wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
        return {
            one.partition: one.offset
            for one in consumer.committed(wanted, timeout=20)
            if one.offset >= 0
        }
    finally:
        consumer.close()


def end_offsets(bootstrap: str, topic: str, partitions: int) -> dict[int, int]:
    """The end of each partition that is not empty."""
    with reading(bootstrap, topic) as consumer:
        ends = {
            p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)[1]
            for p in range(partitions)
        }
    return {partition: end for partition, end in ends.items() if end}
