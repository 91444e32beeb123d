"""Gaps between offsets: images that Kafka deleted, or nothing at all."""

from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from structlog.testing import capture_logs

from bridge.images import Publication
from bridge.kafka.assignment import Assignment
from bridge.kafka.group import commit_metadata
from bridge.kafka.membership import Membership
from bridge.kafka.watch import Watch
from bridge.metrics import Metrics
from cli.clients import KafkaSettingError

KEY = ("images", 0)


class Offsets:
    """A consumer that is asked where the group and the log stand."""

    def __init__(self) -> None:
        self.offset = 5
        self.metadata = ""
        self.low = 0
        self.refusal: KafkaException | None = None

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        if self.refusal is not None:
            raise self.refusal
        return [TopicPartition(p.topic, p.partition, self.offset, self.metadata) for p in places]

    def get_watermark_offsets(self, _place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached, "a question to the broker for each gap would hold the loop up"
        return self.low, 100


class Rig:
    def __init__(self) -> None:
        self.consumer = Offsets()
        self.membership = Membership("cats")
        self.metrics = Metrics()
        assignment: Assignment[Publication] = Assignment()
        assignment.assign([KEY])
        self.watch = Watch(
            cast("Any", self.consumer), self.membership, assignment, self.metrics,
            topic="images", model="net",
        )  # fmt: skip

    @property
    def lost(self) -> float:
        found = self.metrics.registry.get_sample_value("bridge_images_lost_to_retention_total")
        assert found is not None
        return found

    def end(self, offset: int) -> None:
        error = KafkaError(KafkaError._PARTITION_EOF)
        self.watch.error(Message(topic=KEY[0], partition=KEY[1], offset=offset, error=error), error)


def test_offsets_of_transactions_markers_are_no_loss() -> None:
    rig = Rig()
    rig.watch.assigned([KEY])
    rig.watch.read(KEY, 5)
    rig.watch.read(KEY, 7)
    rig.end(12)
    assert rig.lost == 0


def test_images_deleted_before_the_start_and_while_it_runs_are_counted() -> None:
    rig = Rig()
    rig.watch.assigned([KEY])
    rig.consumer.low = 8
    rig.watch.read(KEY, 9)  # 8 is a marker
    assert rig.lost == 3
    rig.consumer.low = 30
    rig.end(30)
    assert rig.lost == 3 + 20


def test_a_new_group_has_lost_nothing() -> None:
    rig = Rig()
    rig.consumer.offset, rig.consumer.low = -1001, 8
    rig.watch.assigned([KEY])
    rig.watch.read(KEY, 8)
    assert rig.lost == 0


def test_another_models_offsets_are_told_once() -> None:
    rig = Rig()
    rig.consumer.metadata = commit_metadata("other")
    with capture_logs() as events:
        rig.watch.assigned([KEY])
        rig.watch.gone([KEY])
        rig.watch.assigned([KEY])
    assert [(e["event"], e["other"]) for e in events] == [("group_of_another_model", "other")]


def test_a_group_that_does_not_answer_is_the_reason() -> None:
    rig = Rig()
    rig.consumer.refusal = KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))
    rig.watch.assigned([KEY])
    rig.watch.read(KEY, 3)
    assert rig.watch.problem == "group 'cats': Broker: Group authorization failed"


def test_no_offset_to_read_on_from_is_a_setting_to_change() -> None:
    rig = Rig()
    error = KafkaError(KafkaError._AUTO_OFFSET_RESET, "no previously committed offset")
    with pytest.raises(KafkaSettingError, match=r"auto\.offset\.reset=error"):
        rig.watch.error(Message(topic="images", partition=0, error=error), error)
