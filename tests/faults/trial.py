"""One fault: images flow, something breaks, and every image is accounted for."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Self

from confluent_kafka import Consumer, KafkaError, TopicPartition

from producer.encoding import Encoding
from stack.bridge import Bridge
from stack.service import Service
from tests.conftest import PARTITIONS, Topics
from tests.faults.ledger import Ledger, balance
from tests.faults.load import RATE, Load
from tests.faults.proxy import Proxy
from tests.waiting import eventually
from wire.image import image_id

IMAGES = int(os.environ.get("FAULT_IMAGES", "5000"))
"""Sent in every trial, at least."""
PATIENCE_S = 90.0
"""Without a single new answer for that long, what is missing counts as lost."""


def consumer_settings(more: Mapping[str, str | int]) -> dict[str, str]:
    """The bridge's `kafka_consumer`, with more of it."""
    # A dead member is noticed in 6 s, not 45, so that a trial ends.
    options = {
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 1000,
        "reconnect.backoff.max.ms": 500,
    }
    return {"kafka_consumer": json.dumps({**options, **more})}


FAST_FAILURE = {
    **consumer_settings({}),
    "kafka_producer": '{"reconnect.backoff.max.ms": 500}',
    "request_timeout_s": "5",
    "transaction_timeout_s": "10",
    "retry_max_s": "1",
}


class Trial:
    """The parts of a trial, and the count at its end. A context manager: images flow in it.

    Args:
        kafka: the brokers, for the load and for the count.
        triton: gRPC address that the bridges are told.
        brokers: what the bridges are told; None: the same as everybody.
        rate, encoding: images/s of the load, and what they are sent as.
        references: URLs of objects that hold the images.
    """

    def __init__(
        self,
        kafka: str,
        triton: str,
        topics: Topics,
        directory: Path,
        delivery: str,
        *,
        brokers: str | None = None,
        rate: float = RATE,
        encoding: Encoding = Encoding.RAW,
        references: Sequence[str] = (),
    ) -> None:
        self.bridges: dict[str, Bridge] = {}
        self._topics = topics
        self._group = f"group-{topics.images}"
        self._kafka = kafka
        self._directory = directory
        self.settings = {
            "brokers": brokers or kafka,
            "triton": triton,
            "images_topic": topics.images,
            "predictions_topic": topics.predictions,
            "dead_letters_topic": topics.dead_letters,
            "group": self._group,
            "delivery": delivery,
            **FAST_FAILURE,
        }
        self.load = Load(kafka, topics.images, rate, encoding, references)

    def __enter__(self) -> Self:
        self.load.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.load.__exit__()
        for bridge in self.bridges.values():
            bridge.kill()

    def bridge(self, name: str = "bridge", **settings: str) -> Bridge:
        """Start a bridge, or one of this name again."""
        bridge = self.launch(name, **settings)
        bridge.wait_ready()
        return bridge

    def launch(self, name: str, **settings: str) -> Bridge:
        """Start one that need not become ready."""
        if name not in self.bridges:
            merged = {**self.settings, "transactional_id": f"{self._group}-{name}", **settings}
            self.bridges[name] = Bridge(merged, self._directory, name)
        self.bridges[name].launch()
        return self.bridges[name]

    def flowing(self, bridge: Bridge, more: int = 200) -> None:
        """Wait until this bridge has answered that many more images."""
        before = answered(bridge)
        eventually(lambda: answered(bridge) >= before + more, f"{more} more answers")

    def unready(self, bridge: Bridge) -> None:
        """Wait until this bridge says that it answers nothing."""
        eventually(lambda: bridge.health("ready") == 503, "the bridge not being ready")

    def settle(self, images: int = IMAGES) -> Ledger:
        """Send what is left of `images`, wait for the answers, stop the bridges, and count."""
        sent = self.load.finish(images)
        self._await_answers(len(sent))
        for bridge in self.bridges.values():
            bridge.stop()
        answers, dead = self._read_all(self._topics.predictions, self._topics.dead_letters)
        ledger = balance(sent, answers, dead)
        if ledger.lost:
            self._explain(set(sent) - answers.keys() - dead.keys())
        return ledger

    def _explain(self, lost: set[str]) -> None:
        """Say of what is missing whether Kafka still has it, and where the group stands."""
        (there,) = self._read_all(self._topics.images)
        print(f"of {len(lost)} lost images, Kafka itself no longer has {len(lost - there.keys())}")
        ids = sorted(int(name.rpartition("-")[2]) for name in lost)
        print(f"lost: {ids}")
        group = Consumer({"bootstrap.servers": self._kafka, "group.id": self._group})
        partitions = [TopicPartition(self._topics.images, p) for p in range(PARTITIONS)]
        for one in group.committed(partitions, timeout=10):
            _, end = group.get_watermark_offsets(one, timeout=10)
            print(f"partition {one.partition}: committed {one.offset} of {end}")
        group.close()

    def _await_answers(self, count: int) -> None:
        """Return when `count` ids have come back, or none has for `PATIENCE_S`."""
        seen: set[str] = set()
        last = time.monotonic()
        both = (self._topics.predictions, self._topics.dead_letters)
        with Records(self._kafka, both) as answers:
            while len(seen) < count and time.monotonic() - last < PATIENCE_S:
                before = len(seen)
                for _, name in answers.read():
                    seen.add(name)
                if len(seen) > before:
                    last = time.monotonic()

    def _read_all(self, *topics: str) -> tuple[Counter[str], ...]:
        """How often each id is in each of these topics."""
        counts = {topic: Counter[str]() for topic in topics}
        with Records(self._kafka, topics) as answers:
            while not answers.at_end:
                for topic, name in answers.read():
                    counts[topic][name] += 1
        return tuple(counts.values())


class Records:
    """Some topics from their start. A context manager."""

    def __init__(self, brokers: str, topics: Sequence[str]) -> None:
        self._left = {(topic, p) for topic in topics for p in range(PARTITIONS)}
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
        """Whether nothing committed is left."""
        return not self._left

    def __enter__(self) -> Self:
        self._consumer.assign([TopicPartition(topic, p, 0) for topic, p in self._left])
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def read(self) -> list[tuple[str, str]]:
        """Some more of them: topic and image id."""
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


def bad_network(trial: Trial, proxy: Proxy) -> None:
    """A bridge behind this proxy: its connection is cut, then slow, then dripping, then well."""
    bridge = trial.bridge()
    trial.flowing(bridge)
    proxy.cut()
    trial.unready(bridge)
    proxy.restore()
    trial.flowing(bridge)
    proxy.slow(0.2)
    trial.flowing(bridge)
    proxy.drip()
    trial.flowing(bridge, 20)
    proxy.restore()


@contextmanager
def kept_running(server: Service) -> Iterator[None]:
    """Start a server again whenever it dies by itself, as whatever runs it in earnest would.

    Triton's Python backend can crash over requests that were cancelled or refused in great number.
    """
    over = Event()

    def watch() -> None:
        while not over.wait(0.2):
            if server.died:
                server.start()

    watcher = Thread(target=watch, name="keeper")
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
