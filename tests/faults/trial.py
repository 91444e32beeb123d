"""One fault: images flow, something breaks, and every image is accounted for."""

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, TopicPartition

from stack.bridge import Bridge
from stack.kafka import Kafka
from stack.triton import Triton
from tests.conftest import PARTITIONS, Topics
from tests.faults.ledger import Ledger, balance
from tests.faults.load import RATE, Load
from wire.image import image_id

IMAGES = int(os.environ.get("FAULT_IMAGES", "5000"))
"""Sent in every trial, at least."""
PATIENCE_S = 90.0
"""Without a single new answer for that long, what is missing counts as lost."""

FAST_FAILURE = {
    # Group: a dead member is noticed in 6 s, not 45, so that a trial ends.
    "kafka_consumer": '{"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000, '
    '"reconnect.backoff.max.ms": 500}',
    "kafka_producer": '{"reconnect.backoff.max.ms": 500}',
    "request_timeout_s": "5",
    "transaction_timeout_s": "10",
    "retry_max_s": "1",
}


class Trial:
    """The parts of a trial, and the count at its end.

    Args:
        brokers: what the bridges are told; None: the same as everybody.
    """

    def __init__(
        self,
        kafka: str,
        triton: Triton,
        topics: Topics,
        directory: Path,
        delivery: str,
        *,
        brokers: str | None = None,
        triton_address: str | None = None,
        rate: float = RATE,
    ) -> None:
        self.triton = triton
        self.topics = topics
        self.group = f"group-{topics.images}"
        self.bridges: dict[str, Bridge] = {}
        self._kafka = kafka
        self._directory = directory
        self._settings = {
            "brokers": brokers or kafka,
            "triton": triton_address or triton.grpc,
            "images_topic": topics.images,
            "predictions_topic": topics.predictions,
            "dead_letters_topic": topics.dead_letters,
            "group": self.group,
            "delivery": delivery,
            **FAST_FAILURE,
        }
        self.load = Load(kafka, topics.images, rate)

    def bridge(self, name: str = "bridge", **settings: str) -> Bridge:
        """Start a bridge, or one of this name again."""
        if name not in self.bridges:
            merged = {**self._settings, "transactional_id": f"{self.group}-{name}", **settings}
            self.bridges[name] = Bridge(merged, self._directory, name)
        self.bridges[name].start()
        return self.bridges[name]

    def flowing(self, bridge: Bridge, more: int = 200) -> None:
        """Wait until this bridge has answered that many more images."""
        before = answered(bridge)
        eventually(lambda: answered(bridge) >= before + more, f"{more} more answers")

    def settle(self) -> Ledger:
        """Send what is left of `IMAGES`, wait for the answers, stop the bridges, and count."""
        sent = self.load.finish(IMAGES)
        self._await_answers(len(sent))
        for bridge in self.bridges.values():
            bridge.stop()
        answers, dead = self._read_all()
        return balance(sent, answers, dead)

    def close(self) -> None:
        self.load.__exit__()
        for bridge in self.bridges.values():
            bridge.kill()

    def _await_answers(self, count: int) -> None:
        """Return when `count` ids have come back, or none has for `PATIENCE_S`."""
        seen: set[str] = set()
        last = time.monotonic()
        with _reader(self._kafka, self.topics) as read:
            while len(seen) < count and time.monotonic() - last < PATIENCE_S:
                before = len(seen)
                for _, name in read():
                    seen.add(name)
                if len(seen) > before:
                    last = time.monotonic()

    def _read_all(self) -> tuple[Counter[str], Counter[str]]:
        counts = {self.topics.predictions: Counter[str](), self.topics.dead_letters: Counter[str]()}
        with _reader(self._kafka, self.topics) as read:
            while not read.at_end:
                for topic, name in read():
                    counts[topic][name] += 1
        return counts[self.topics.predictions], counts[self.topics.dead_letters]


class _reader:  # noqa: N801 - used as a function
    """Reads the answers' topics from their start; `at_end` when nothing committed is left."""

    def __init__(self, brokers: str, topics: Topics) -> None:
        self._left = {
            (topic, p)
            for topic in (topics.predictions, topics.dead_letters)
            for p in range(PARTITIONS)
        }
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "faults-commit-nothing",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )

    @property
    def at_end(self) -> bool:
        return not self._left

    def __enter__(self) -> "_reader":
        self._consumer.assign([TopicPartition(topic, p, 0) for topic, p in self._left])
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def __call__(self) -> list[tuple[str, str]]:
        records = []
        for message in self._consumer.consume(500, 0.2):
            error = message.error()
            topic, partition = message.topic(), message.partition()
            assert topic is not None
            assert partition is not None
            if error is None:
                self._left.add((topic, partition))
                records.append((topic, image_id(message)))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._left.discard((topic, partition))
        return records


def answered(bridge: Bridge) -> float:
    """What this process has answered since its start."""
    try:
        return bridge.metrics().get("bridge_images_answered_total", 0.0)
    except OSError:
        return -1.0


def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it never came to {what}"
        time.sleep(0.05)


__all__ = ["IMAGES", "Kafka", "Trial", "answered", "eventually"]
