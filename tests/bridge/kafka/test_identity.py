"""A topic that is deleted and created again is another topic: the bridge does not pass over its
beginning without a word."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection, Uuid
from confluent_kafka.admin import AdminClient

from bridge.kafka.identity import EVERY_S, TopicIdentity, TopicReplacedError
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.topics import create_topics
from tests.bridge.answers import as_records, collect_answers
from tests.bridge.conftest import StartBridge
from tests.conftest import PARTITIONS, Topics
from tests.kafka_client import send
from tests.waiting import eventually

NOT_NOW = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))


class Cluster:
    """Answers questions about a topic, when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[Future[Any]] = []
        self.identity = TopicIdentity(lambda: self, "images", lambda: self.now)  # type: ignore[arg-type,return-value]  # in the place of an AdminClient

    def poll(self, timeout: float) -> int:
        assert timeout == 0, "the intake would wait"
        return 0

    def describe_topics(
        self, topics: TopicCollection, *, request_timeout: float
    ) -> dict[str, Future[Any]]:
        assert topics.topic_names == ["images"]
        assert request_timeout > 0
        self.asked.append(Future())
        return {"images": self.asked[-1]}

    def answer(self, answer: Uuid | KafkaException) -> None:
        self.now += EVERY_S
        self.identity.check()
        if isinstance(answer, Uuid):
            self.asked[-1].set_result(SimpleNamespace(topic_id=answer))
        else:
            self.asked[-1].set_exception(answer)
        self.identity.check()


def test_another_id_is_another_topic_whatever_comes_between() -> None:
    cluster = Cluster()
    for answer in (Uuid(1, 2), Uuid(1, 2), NOT_NOW, Uuid(0, 0), Uuid(1, 2)):
        cluster.answer(answer)
    with pytest.raises(TopicReplacedError, match="images was deleted and created again"):
        cluster.answer(Uuid(1, 3))


def test_a_broker_without_ids_is_asked_in_vain() -> None:
    cluster = Cluster()
    for _ in range(3):
        cluster.answer(Uuid(0, 0))
    cluster.answer(Uuid(1, 2))  # it was upgraded


def test_one_question_at_a_time_and_not_too_often() -> None:
    cluster = Cluster()
    for _ in range(10):
        cluster.identity.check()
    assert len(cluster.asked) == 1
    cluster.answer(Uuid(1, 2))
    cluster.now -= 0.1
    cluster.identity.check()
    assert len(cluster.asked) == 1
    cluster.now += 0.1
    cluster.identity.check()
    assert len(cluster.asked) == 2


@pytest.mark.slow
@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_bridge_whose_topic_is_created_anew_says_so_and_ends(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    images = cifar10(Encoding.RAW)
    bridge = start_bridge(delivery=delivery)
    send(kafka.bootstrap, topics.images, as_records(images, 40))
    collect_answers(kafka, topics, 40)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_topics([topics.images])[topics.images].result(30)
    eventually(lambda: topics.images not in admin.list_topics(timeout=10).topics)
    create_topics(kafka.bootstrap, {topics.images: PARTITIONS})
    send(kafka.bootstrap, topics.images, as_records(images, 200))
    assert bridge.wait_exit(60) == 1
    assert f"{topics.images} was deleted and created again" in bridge.log_path.read_text()
