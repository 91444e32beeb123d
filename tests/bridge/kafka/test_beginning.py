"""Where a new group begins, on a real Kafka."""

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from bridge.config import Settings
from bridge.kafka.clients import consumer_option, make_consumer
from bridge.kafka.group import read_group
from bridge.startup import begin
from stack.kafka import Kafka
from tests.conftest import PARTITIONS, Topics


@pytest.fixture
def settings(kafka: Kafka, topics: Topics, request: pytest.FixtureRequest) -> Settings:
    """The settings of a bridge on a topic with three images in it."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(3):
        producer.produce(topics.images, b"image", partition=number % 2)
    assert producer.flush(60) == 0
    return Settings.model_validate(
        {
            "brokers": kafka.bootstrap,
            "images_topic": topics.images,
            "group": topics.images,
            "start": request.param,
        }
    )


@pytest.fixture
def consumer(settings: Settings) -> Iterator[Consumer]:
    found = make_consumer(settings, print, print, print)
    yield found
    found.close()


def offsets(settings: Settings, consumer: Consumer) -> list[int]:
    places = [TopicPartition(settings.images_topic, number) for number in range(PARTITIONS)]
    return [place.offset for place in consumer.committed(places, timeout=60)]


@pytest.mark.parametrize("settings", ["latest"], indirect=True)
def test_a_new_group_begins_at_the_end_once(settings: Settings, consumer: Consumer) -> None:
    begin(settings, read_group(settings, consumer), consumer)
    assert offsets(settings, consumer) == [2, 1, 0, 0]
    producer = Producer({"bootstrap.servers": settings.brokers})
    producer.produce(settings.images_topic, b"image", partition=0)
    assert producer.flush(60) == 0
    # A group that has begun goes on where it was, whatever the setting says.
    assert read_group(settings, consumer).begun
    begin(settings, read_group(settings, consumer), consumer)
    assert offsets(settings, consumer) == [2, 1, 0, 0]


@pytest.mark.parametrize("settings", ["earliest"], indirect=True)
def test_by_default_a_new_group_answers_all_that_is_there(
    settings: Settings, consumer: Consumer
) -> None:
    state = read_group(settings, consumer)
    assert not state.begun
    begin(settings, state, consumer)
    assert all(offset < 0 for offset in offsets(settings, consumer))
    assert consumer_option(settings, "auto.offset.reset") == "earliest"
