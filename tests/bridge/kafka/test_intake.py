"""What the intake takes, and how it counts that."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from confluent_kafka import Message, TopicPartition

from bridge.images import Publication, ReceivedRecord
from bridge.kafka.assignment import Assignment
from bridge.kafka.delivery import Delivery
from bridge.kafka.intake import Intake
from bridge.metrics import Metrics
from bridge.room import Room
from wire.record import RECORD_OVERHEAD

PIXELS = 3000


class Kafka:
    """A consumer with these records."""

    def __init__(self, *values: bytes) -> None:
        self._messages = [
            Message(topic="images", partition=0, offset=offset, value=value)
            for offset, value in enumerate(values)
        ]

    def subscribe(self, _topics: Sequence[str], **callbacks: Callable[..., None]) -> None:
        callbacks["on_assign"](self, [TopicPartition("images", 0)])

    def poll(self, _timeout_s: float) -> Message | None:
        return self._messages.pop(0) if self._messages else None

    def consume(self, count: int, _timeout_s: float) -> list[Message]:
        taken, self._messages = self._messages[:count], self._messages[count:]
        return taken

    def pause(self, _places: object) -> None:
        pass

    def close(self) -> None:
        pass


class Commits:
    """A delivery that notes what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def flush(self, timeout_s: float) -> None:
        assert timeout_s > 0
        self.calls.append("flush")

    def commit(self, *, wait: bool) -> None:
        if wait:
            self.calls.append("commit")

    def generation_changed(self) -> None:
        pass


def run(
    kafka: Kafka, taken: Callable[[Sequence[ReceivedRecord]], None]
) -> tuple[Any, Commits, list[Any]]:
    assignment: Assignment[Publication] = Assignment()
    delivery = Commits()
    failures: list[Exception] = []
    intake: Intake

    def take(arrivals: Sequence[ReceivedRecord]) -> None:
        intake.stop()
        taken(arrivals)

    intake = Intake(
        cast("Any", kafka), "images", assignment, Metrics(), take=take,
        delivery=cast("Delivery", delivery), pixel_bytes=PIXELS, room=Room(64, 1 << 20),
        commit_interval_s=0.1, drain_timeout_s=1, stalled=lambda: True, failed=failures.append,
    )  # fmt: skip
    intake.start()
    assert intake.join(30)
    return assignment, delivery, failures


def test_the_pixels_that_an_image_will_be_decoded_to_count_from_the_start() -> None:
    assignment, _, failures = run(Kafka(b"jpeg", bytes(PIXELS)), lambda _: None)
    assert not failures
    assert assignment.images == 2
    encoded, raw = 4 + PIXELS, PIXELS
    assert assignment.bytes == 2 * RECORD_OVERHEAD + encoded + raw


def test_what_is_complete_is_committed_after_a_failure_that_is_not_kafkas() -> None:
    def fail(_: Sequence[ReceivedRecord]) -> None:
        raise ZeroDivisionError

    _, delivery, failures = run(Kafka(b"jpeg"), fail)
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    assert delivery.calls == ["flush", "commit"]
