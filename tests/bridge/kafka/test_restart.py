"""A real broker that is restarted, or goes for good, while the bridge has nothing to do."""

import os
import signal
import uuid
from pathlib import Path

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.topics import create_topics
from tests.bridge.answers import as_records, collect_answers, ids
from tests.bridge.conftest import StartBridge
from tests.conftest import Topics
from tests.kafka_client import send


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_stop_ends_while_the_broker_is_away(
    start_bridge: StartBridge, tmp_path: Path, delivery: str
) -> None:
    topics = Topics("images", "predictions", "images.dlq")
    with Kafka(tmp_path / "kafka") as broker:
        create_topics(
            broker.bootstrap,
            dict.fromkeys((topics.images, topics.predictions, topics.dead_letters), 1),
        )
        bridge = start_bridge(
            brokers=broker.bootstrap, images_topic=topics.images, delivery=delivery,
            predictions_topic=topics.predictions, dead_letters_topic=topics.dead_letters,
            # Nothing is committed before the broker goes.
            group=f"group-{uuid.uuid4()}", commit_interval_s="60", drain_timeout_s="1",
        )  # fmt: skip
        send(broker.bootstrap, topics.images, as_records(cifar10(Encoding.RAW), 1))
        collect_answers(broker, topics, 1)
        broker.kill()
        os.kill(bridge.pid, signal.SIGTERM)
        status = bridge.wait_exit(120)
    # With exactly-once delivery, the offset may have been committed together with the answer.
    assert status == 1 or (status, delivery) == (0, "exactly-once")
    assert ("delivered again" in bridge.log_path.read_text()) == (status == 1)


def test_exactly_once_the_same_client_goes_on_after_a_restart(
    start_bridge: StartBridge, tmp_path: Path
) -> None:
    topics = Topics("images", "predictions", "images.dlq")
    images = as_records(cifar10(Encoding.RAW), 2)
    with Kafka(tmp_path / "kafka") as broker:
        create_topics(
            broker.bootstrap,
            dict.fromkeys((topics.images, topics.predictions, topics.dead_letters), 1),
        )
        bridge = start_bridge(
            brokers=broker.bootstrap, images_topic=topics.images, delivery="exactly-once",
            predictions_topic=topics.predictions, dead_letters_topic=topics.dead_letters,
            group=f"group-{uuid.uuid4()}",
        )  # fmt: skip
        for count in (1, 2):
            send(broker.bootstrap, topics.images, images[count - 1 : count])
            messages = collect_answers(broker, topics, count)
            broker.stop()
            broker.start()
    assert set(ids(messages).values()) == {1}
    # A client whose call hangs is replaced, which the bridge says.
    assert '"fenced"' not in bridge.log_path.read_text()
