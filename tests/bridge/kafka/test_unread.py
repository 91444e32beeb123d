"""What was deleted unread, what is still to be read, and whose group it is, on a real broker."""

import json
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from bridge.kafka.group import commit_metadata
from stack.kafka import Kafka
from stack.topics import create_topics
from tests.bridge.answers import GOOD, as_record, collect_answers, wait_for
from tests.bridge.conftest import StartBridge
from tests.conftest import MODEL, Topics
from tests.kafka_client import send

LAG = 'bridge_consumer_lag{partition="0"}'


@pytest.fixture
def images(kafka: Kafka, topics: Topics) -> str:
    """A topic of one partition."""
    name = f"{topics.images}-one"
    create_topics(kafka.bootstrap, {name: 1})
    return name


def test_images_that_kafka_deleted_unread_are_counted_and_named(
    kafka: Kafka, topics: Topics, images: str, start_bridge: StartBridge
) -> None:
    send(kafka.bootstrap, images, [as_record(GOOD, f"early-{n}") for n in range(3)])
    first = start_bridge("first", images_topic=images)
    collect_answers(kafka, topics, 3)
    first.stop()
    send(kafka.bootstrap, images, [as_record(GOOD, f"late-{n}") for n in range(9)])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.delete_records([TopicPartition(images, 0, 10)]).values():
        future.result()
    second = start_bridge("second", images_topic=images)
    collect_answers(kafka, topics, 5)
    assert second.metrics()["bridge_images_lost_to_retention_total"] == 7
    lines = [json.loads(line) for line in second.log_path.read_text().splitlines()]
    (line,) = [line for line in lines if line["event"] == "images_lost_to_retention"]
    assert (line["level"], line["topic"], line["partition"], line["images"]) == (
        "warning", images, 0, 7,
    )  # fmt: skip
    assert any(line["event"] == "librdkafka" and line["level"] == "warning" for line in lines)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_nothing_is_left_to_read_after_transactions_that_were_aborted(
    kafka: Kafka, topics: Topics, images: str, start_bridge: StartBridge, delivery: str
) -> None:
    bridge = start_bridge(images_topic=images, delivery=delivery)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": images})
    producer.init_transactions()
    for outcome in ("commit", "abort"):
        producer.begin_transaction()
        for number in range(40):
            record = as_record(GOOD, f"{outcome}-{number}")
            producer.produce(images, record.value, record.key)
        producer.flush()
        if outcome == "commit":
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    collect_answers(kafka, topics, 40)
    wait_for(lambda: bridge.metrics()[LAG] == 0)
    assert bridge.metrics()["bridge_images_lost_to_retention_total"] == 0


def test_a_group_answers_by_one_model(
    kafka: Kafka, topics: Topics, images: str, start_bridge: StartBridge
) -> None:
    group = f"group-{topics.images}"
    options: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap,
        "group.id": group,
        "partition.assignment.strategy": "cooperative-sticky",
        "auto.offset.reset": "earliest",
    }
    other = Consumer(options)
    other.subscribe([images])
    wait_for(lambda: other.poll(0.1) is None and other.assignment())
    metadata = commit_metadata("another-net")
    other.commit(offsets=[TopicPartition(images, 0, 0, metadata)], asynchronous=False)
    beside = start_bridge("beside", ready=False, images_topic=images)
    assert beside.wait_exit(60) == 2
    refusal = beside.log_path.read_text()
    assert "another-net" in refusal
    assert "--group" in refusal
    other.close()
    after = start_bridge("after", images_topic=images)
    assert "group_of_another_model" in after.log_path.read_text()
    send(kafka.bootstrap, images, [as_record(GOOD, "image")])
    collect_answers(kafka, topics, 1)
    after.stop()
    reader = Consumer(options)
    (place,) = reader.committed([TopicPartition(images, 0)], timeout=20)
    reader.close()
    assert (place.offset, place.metadata) == (1, commit_metadata(MODEL))
