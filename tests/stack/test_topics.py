"""A topic that was created is there for whoever asks next."""

import uuid
from collections.abc import Iterator
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from cli.topics import POLL_S, TIMEOUT_S, TopicError, await_topics
from stack.kafka import Kafka
from stack.topics import create_topics


def metadata(**leaders: list[int]) -> Any:
    """The metadata of a broker that knows these topics, with these leaders of their partitions."""
    topics = {
        name: SimpleNamespace(
            error=None, partitions={i: SimpleNamespace(leader=one) for i, one in enumerate(of)}
        )
        for name, of in leaders.items()
    }
    return SimpleNamespace(topics=topics)


class Broker:
    """Answers what is given, one after the other, and tells how often it was asked."""

    def __init__(self, answers: Iterator[Any]) -> None:
        self.answers = answers
        self.asked = 0

    def list_topics(self, *, timeout: float) -> Any:
        assert timeout > 0
        self.asked += 1
        return next(self.answers)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait(broker: Broker, clock: Clock) -> None:
    await_topics(broker, ["a", "b"], "on a broker", clock=clock, sleep=clock.sleep)


def test_it_waits_until_the_broker_knows_each_topic_and_each_leader() -> None:
    late = [metadata(), metadata(a=[1]), metadata(a=[1], b=[]), metadata(a=[1, 1], b=[1, -1])]
    broker, clock = Broker(chain(late, [metadata(a=[1, 1], b=[1, 2])])), Clock()
    wait(broker, clock)
    assert broker.asked == 5
    assert clock.now == pytest.approx(4 * POLL_S)


def test_it_ends_and_names_the_topics_that_never_get_a_leader() -> None:
    broker, clock = Broker(repeat(metadata(a=[1], b=[-1], c=[-1]))), Clock()
    with pytest.raises(TopicError, match=r"no leader on a broker after 30 s for: b$"):
        wait(broker, clock)
    assert clock.now == pytest.approx(TIMEOUT_S, abs=2 * POLL_S)


def test_a_new_client_sees_topics_at_once(kafka: Kafka) -> None:
    for _ in range(10):
        topics = {uuid.uuid4().hex: 8 for _ in range(3)}
        create_topics(kafka.bootstrap, topics)
        known = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=30).topics
        for topic, count in topics.items():
            assert [one.leader >= 0 for one in known[topic].partitions.values()] == [True] * count
