"""What an offset waits for: with each delivery, what became of the image is safe before."""

from typing import Any

from confluent_kafka import KafkaError, KafkaException

from tests.bridge.fakes import Broker, raw_image
from tests.bridge.test_delivery import Start
from tests.bridge.test_delivery import start as start  # noqa: PLC0414 - a fixture


class Silent(Broker):
    """One that acknowledges nothing until it is told to."""

    silent = True

    def flush(self, timeout_s: float) -> int:
        return len(self.waiting) if self.silent else super().flush(timeout_s)


def test_no_offset_is_committed_before_kafka_has_acknowledged_answer_and_letter(
    start: Start,
) -> None:
    broker = Silent({})
    desk = start("at-least-once", broker)
    desk.answer(raw_image(0), raw_image(1))
    desk.dead_letter(raw_image(2))
    desk.delivery.commit(wait=True)
    assert desk.committed == {}
    broker.silent = False
    desk.settle()
    assert desk.committed == {0: 3}
    assert (desk.answers(), list(desk.letters())) == (2, [2])


class Interrupted(Broker):
    """One that gives up the first transaction when it is to be committed."""

    def __init__(self) -> None:
        super().__init__({})
        self.left: list[Any] = []

    def commit_transaction(self, timeout_s: float) -> None:
        if not self.aborts:
            raise KafkaException(
                KafkaError(KafkaError.INVALID_TXN_STATE, "given up", txn_requires_abort=True)
            )
        super().commit_transaction(timeout_s)

    def abort_transaction(self, timeout_s: float) -> None:
        super().abort_transaction(timeout_s)
        self.left.append((len(self.log), dict(self.offsets)))


def test_answers_letters_and_offsets_are_committed_together_or_not_at_all(start: Start) -> None:
    broker = Interrupted()
    desk = start("exactly-once", broker)
    desk.answer(raw_image(0), raw_image(1))
    desk.dead_letter(raw_image(2))
    desk.settle()
    assert broker.left == [(0, {})]
    assert desk.committed == {0: 3}
    assert (desk.answers(), list(desk.letters())) == (2, [2])
