"""KEDA's own Kafka scaler on the real broker: the bridges that docs/kubernetes.md promises."""

import json
import math
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from cli.topics import end_offset
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.bridge import Bridge
from stack.kafka import Kafka
from stack.topics import create_topics
from stack.triton import Triton
from tests.conftest import PARTITIONS as FEW
from tests.conftest import Topics
from tests.kafka_client import collect
from tests.kubernetes import tools
from tests.kubernetes.chart import one, render
from tests.waiting import eventually
from wire.image import encode_image

pytestmark = [pytest.mark.slow, pytest.mark.soak]

PARTITIONS = 12
THRESHOLD = 100
"""Images for each bridge: small, so that the tests write few."""


class Scaler:
    """KEDA's scaler; it lives on between polls, since it remembers offsets."""

    def __init__(self, child: subprocess.Popen[str], most: int) -> None:
        self._child = child
        self._most = most

    def poll(self) -> tuple[bool, int]:
        """Whether there should be a bridge at all, and how many Kubernetes makes of the lag."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        assert line, self._child.stderr.read() if self._child.stderr else ""
        answer = json.loads(line)
        # An external metric with an average value: autoscaling/v2 divides and rounds up.
        wanted = math.ceil(answer["lag"] / answer["threshold"])
        return answer["active"], min(wanted, self._most)

    def bridges(self) -> int:
        """How many bridges KEDA and the HorizontalPodAutoscaler decide on, without a minimum."""
        active, wanted = self.poll()
        return max(1, wanted) if active else 0


def trigger(kafka: str, topic: str, group: str, **scaling: Any) -> dict[str, str]:
    """The trigger of the chart's ScaledObject, for this topic."""
    values = {
        "kafka": {"brokers": kafka, "topics": {"images": topic, "partitions": PARTITIONS}},
        "bridge": {
            "settings": {"group": group},
            "scaling": {
                "mode": "keda", "minReplicas": 0, "imagesPerSecond": THRESHOLD / 10, **scaling,
            },
        },
    }  # fmt: skip
    spec = one(render(values), "ScaledObject", "bridge")["spec"]
    metadata: dict[str, str] = spec["triggers"][0]["metadata"]
    assert metadata["lagThreshold"] == str(THRESHOLD)
    return metadata


@contextmanager
def scaler(metadata: Mapping[str, str]) -> Iterator[Scaler]:
    program = tools.need(tools.built(tools.SCALER, "lag"))
    arguments = [f"{name}={value}" for name, value in metadata.items()]
    child = subprocess.Popen(
        [program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        try:
            yield Scaler(child, PARTITIONS)
        finally:
            child.kill()


@pytest.fixture
def topic(kafka: Kafka, topics: Topics) -> str:
    name = f"{topics.images}-keda"
    create_topics(kafka.bootstrap, {name: PARTITIONS})
    return name


def fill(kafka: str, topic: str, images: int, partitions: int) -> None:
    """Send that many records, evenly over the first partitions."""
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(images):
        producer.produce(topic, b"x", partition=number % partitions)
        producer.poll(0)
    assert producer.flush(30) == 0


def commit(kafka: str, topic: str, group: str, done: int) -> None:
    """Commit as a group that has finished so many records of each partition."""
    consumer = Consumer(
        {"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False}
    )
    offsets = []
    for partition in range(PARTITIONS):
        place = TopicPartition(topic, partition)
        end = end_offset(consumer, place, time.monotonic() + 20)
        offsets.append(TopicPartition(topic, partition, min(done, end)))
    consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()


@pytest.mark.parametrize(
    ("images", "partitions", "bridges"),
    [
        (0, 12, 0),
        (1, 1, 1),
        (THRESHOLD, 12, 1),
        (THRESHOLD + 1, 12, 2),
        (8 * THRESHOLD, 12, 8),
        (8 * THRESHOLD, 3, 3),
        (100 * THRESHOLD, 12, 12),
    ],
)
@pytest.mark.parametrize("committed", [False, True], ids=["new group", "known group"])
def test_bridges_for_a_lag(
    kafka: Kafka, topic: str, images: int, partitions: int, bridges: int, committed: bool
) -> None:
    group = f"group-{topic}"
    if committed:
        commit(kafka.bootstrap, topic, group, 0)
    fill(kafka.bootstrap, topic, images, partitions)
    with scaler(trigger(kafka.bootstrap, topic, group)) as keda:
        assert keda.bridges() == bridges


def test_lag_that_does_not_move_asks_for_one_bridge_and_moves_it_for_more(
    kafka: Kafka, topic: str
) -> None:
    group = f"group-{topic}"
    commit(kafka.bootstrap, topic, group, 0)
    fill(kafka.bootstrap, topic, 6 * THRESHOLD, PARTITIONS)
    with scaler(trigger(kafka.bootstrap, topic, group)) as keda:
        assert keda.poll() == (True, 6)
        assert keda.poll() == (True, 0)  # an outage: kept alive, and asked for no more
        commit(kafka.bootstrap, topic, group, THRESHOLD // PARTITIONS)
        assert keda.poll() == (True, 6)


def write(kafka: str, topic: str, *, transactional: bool) -> int:
    """Real images on all partitions, in one transaction or in none; how many."""
    config = {"transactional.id": f"writer-{topic}"} if transactional else {}
    producer = Producer({"bootstrap.servers": kafka, **config})
    if transactional:
        producer.init_transactions(60)
        producer.begin_transaction()
    images = cifar10(Encoding.RAW, limit=40)
    for number, image in enumerate(images):
        record = encode_image(
            id=f"image-{number}", value=image.value, content_type=image.content_type,
            source="keda", intended_ns=1, sent_ns=1, label=image.label, dtype=image.dtype,
            shape=image.shape,
        )  # fmt: skip
        headers = cast("Any", record.headers)
        partition = number % FEW
        producer.produce(topic, record.value, record.key, partition=partition, headers=headers)
    if transactional:
        producer.commit_transaction(60)
    assert producer.flush(60) == 0
    return len(images)


def behind(kafka: str, topic: str, group: str) -> int:
    """Records of all partitions that no commit of the group has passed."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group})
    try:
        places = [TopicPartition(topic, partition) for partition in range(FEW)]
        committed = consumer.committed(places, timeout=30)
        return sum(
            consumer.get_watermark_offsets(one, timeout=30)[1] - max(one.offset, 0)
            for one in committed
        )
    finally:
        consumer.close()


@pytest.mark.parametrize("transactional", [False, True], ids=["plain", "transaction"])
@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_images_that_are_done_with_let_the_last_bridge_go(
    kafka: Kafka,
    triton: Triton,
    topics: Topics,
    tmp_path: Path,
    delivery: str,
    transactional: bool,
) -> None:
    """A transaction's marker counts as lag of one, which activationLag passes over."""
    group = f"group-{topics.images}"
    settings = {
        "brokers": kafka.bootstrap,
        "triton": triton.grpc,
        "images_topic": topics.images,
        "predictions_topic": topics.predictions,
        "dead_letters_topic": topics.dead_letters,
        "group": group,
        "delivery": delivery,
    }
    markers = FEW if transactional else 0
    with Bridge(settings, tmp_path):
        count = write(kafka.bootstrap, topics.images, transactional=transactional)
        collect(kafka.bootstrap, [topics.predictions], lambda found: len(found) >= count)
        eventually(
            lambda: behind(kafka.bootstrap, topics.images, group) == markers,
            f"a lag of {markers}",
        )
    with scaler(trigger(kafka.bootstrap, topics.images, group)) as keda:
        assert keda.bridges() == (1 if markers else 0)
    with scaler(trigger(kafka.bootstrap, topics.images, group, activationLag=FEW)) as keda:
        assert keda.bridges() == 0
