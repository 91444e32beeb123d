"""The log at info: a healthy day in ten lines, an incident in twenty."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from producer.encoding import Encoding
from stack.bridge import Bridge
from stack.kafka import Kafka
from stack.triton import Triton
from tests.bridge.conftest import OWN, StartBridge, own_broker
from tests.conftest import PARTITIONS, Topics
from tests.faults.load import Load
from tests.waiting import eventually

pytestmark = pytest.mark.slow

HEALTHY, INCIDENT = 10, 20
OUTAGE_S = 30
RATE = 100


def lines(bridge: Bridge) -> list[dict[str, Any]]:
    """The bridge's log: each line is an event."""
    found: list[dict[str, Any]] = [
        json.loads(line) for line in bridge.log_path.read_text().splitlines()
    ]
    return found


def answered(bridge: Bridge) -> float:
    return bridge.metrics()["bridge_images_answered_total"]


@contextmanager
def flowing(kafka: Kafka, topics: Topics) -> Iterator[Load]:
    with Load(kafka.bootstrap, topics.images, RATE, Encoding.RAW) as load:
        yield load


def serves(bridge: Bridge, images: int) -> None:
    begun = answered(bridge)
    eventually(lambda: answered(bridge) >= begun + images, f"{images} more answers", 120)


def out_for(seconds: float, stop: Callable[[], object], start: Callable[[], object]) -> None:
    stop()
    time.sleep(seconds)  # the length of the outage is what is measured
    start()


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_healthy_day_is_ten_lines(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    # A broker that has just started has no producer ids yet, of which Kafka's client complains.
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True})
    producer.produce(topics.predictions, b"warm")
    assert producer.flush(120) == 0
    bridge = start_bridge(delivery=delivery)
    with flowing(kafka, topics):
        serves(bridge, 300)
        bridge.stop()
    said = lines(bridge)
    assert len(said) <= HEALTHY, Counter(one["event"] for one in said)
    assert [one for one in said if one["level"] != "info"] == []
    assert said[-1]["event"] == "stopped"


def through_outage(
    bridge: Bridge, kill: Callable[[], object], start: Callable[[], object]
) -> list[dict[str, Any]]:
    """What a bridge says of an outage while images come in, until it is ready again."""
    serves(bridge, 100)
    before = len(lines(bridge))
    out_for(OUTAGE_S, kill, start)
    serves(bridge, 100)
    eventually(lambda: bridge.health("ready") == 200, "a bridge that is ready", 60)
    said = lines(bridge)[before:]
    bridge.stop()
    return said


@pytest.mark.soak
@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_half_a_minute_without_triton_is_twenty_lines(
    kafka: Kafka, triton: Triton, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    bridge = start_bridge(delivery=delivery)
    with flowing(kafka, topics):
        said = through_outage(bridge, triton.kill, triton.start)
    told(said)


@pytest.mark.soak
@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_half_a_minute_without_kafka_is_twenty_lines(
    start_bridge: StartBridge, tmp_path: Path, delivery: str
) -> None:
    with own_broker(tmp_path, PARTITIONS) as (kafka, settings):
        bridge = start_bridge(**settings, delivery=delivery)
        with flowing(kafka, OWN):
            said = through_outage(bridge, kafka.kill, kafka.start)
    told(said)


def told(said: list[dict[str, Any]]) -> None:
    """Few lines, and some that something is wrong."""
    assert len(said) <= INCIDENT, Counter(one["event"] for one in said)
    assert "warning" in {one["level"] for one in said}
