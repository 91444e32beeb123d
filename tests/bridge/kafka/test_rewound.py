"""Records that come again, and others that take the place of lost ones: all are answered."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Message, TopicPartition

from bridge.images import Publication, ReceivedRecord
from bridge.kafka.assignment import Assignment
from bridge.kafka.delivery import Delivery
from bridge.kafka.intake import Intake
from bridge.metrics import Metrics
from bridge.room import Room
from producer.encoding import Encoding
from producer.sources import cifar10
from tests.bridge.answers import as_records, collect_answers, ids
from tests.bridge.conftest import OWN, StartBridge, own_broker
from tests.kafka_client import send

TOPIC = "images"
PARTITION = [TopicPartition(TOPIC, 0)]


def record(offset: int) -> Message:
    return Message(topic=TOPIC, partition=0, offset=offset, value=b"")


class Rebalancing:
    """A consumer whose partition goes and comes back while records are asked for.

    A real one does it in a window of microseconds.
    """

    def subscribe(self, _topics: Sequence[str], **callbacks: Callable[..., None]) -> None:
        self._assigned, self._lost = callbacks["on_assign"], callbacks["on_lost"]
        self._waiting: list[Message] = []
        self._began = False

    def poll(self, _timeout_s: float) -> Message | None:
        if not self._began:
            self._assigned(self, PARTITION)
            self._began = True
            return record(9)
        return self._waiting.pop(0) if self._waiting else None

    def consume(self, _count: int, _timeout_s: float) -> list[Message]:
        if not self._waiting:
            self._lost(self, PARTITION)
            self._assigned(self, PARTITION)
            self._waiting = [record(offset) for offset in range(5, 10)]
            return []
        taken, self._waiting = self._waiting, []
        return taken

    def close(self) -> None:
        pass


class NoDelivery:
    def flush(self, timeout_s: float) -> None:
        pass

    def commit(self, *, wait: bool) -> None:
        pass

    def generation_changed(self) -> None:
        pass


def test_records_that_come_again_after_a_rebalance_are_taken_again() -> None:
    assignment: Assignment[Publication] = Assignment()
    taken: list[ReceivedRecord] = []
    failures: list[Exception] = []

    def take(arrivals: Sequence[ReceivedRecord]) -> None:
        taken.extend(arrivals)
        if len(taken) == 6:
            intake.stop(at_once=True)

    intake = Intake(
        cast("Any", Rebalancing()), TOPIC, assignment, Metrics(), take=take,
        delivery=cast("Delivery", NoDelivery()), room=Room(64, 1 << 20),
        commit_interval_s=0.1, drain_timeout_s=1, stalled=lambda: True, failed=failures.append,
    )  # fmt: skip
    intake.start()
    assert intake.join(30)
    assert not failures
    ours = [arrival.key for arrival in taken if not arrival.tracker.revoked]
    assert ours == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_images_at_offsets_that_the_broker_had_before_it_lost_its_log_are_answered(
    start_bridge: StartBridge, tmp_path: Path, delivery: str
) -> None:
    images = cifar10(Encoding.RAW)
    with own_broker(tmp_path) as (broker, settings):
        # At the end, the broker is gone before the bridge: its last commit is not waited for.
        start_bridge(**settings, delivery=delivery, drain_timeout_s="1")
        send(broker.bootstrap, OWN.images, as_records(images, 300))
        collect_answers(broker, OWN, 300)
        broker.stop()
        shutil.rmtree(broker.directory / "data/images-0")
        broker.start()
        again = as_records(images, 500)[300:]
        send(broker.bootstrap, OWN.images, again)
        messages = collect_answers(broker, OWN, 500)
        assert set(ids(messages).values()) == {1}
