"""Exactly once: how long a transaction waits for more images, through the protocols."""

from collections.abc import Iterator
from typing import Any

import pytest

from bridge.backoff import Backoff
from bridge.images import Publication
from bridge.kafka.assignment import Assignment
from bridge.kafka.exactly_once import ExactlyOnce
from bridge.kafka.pace import LONGEST_PAUSE_S, PACE
from bridge.kafka.transaction_size import TransactionSize
from bridge.metrics import Metrics
from tests.bridge.fakes import Broker
from tests.waiting import eventually
from wire.record import Outgoing

TOOK_S = 0.0625
"""Seconds of the fake clock that a transaction takes."""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now


class SlowBroker(Broker):
    def __init__(self, clock: Clock, took_s: float = TOOK_S) -> None:
        super().__init__({})
        self._clock = clock
        self._took_s = took_s
        self.transactions: list[int] = []
        """Images of each committed transaction."""

    def commit_transaction(self, timeout_s: float) -> None:
        super().commit_transaction(timeout_s)
        self._clock.now += self._took_s
        self.transactions.append(len(self.log) - self.before)


class Group:
    def consumer_group_metadata(self) -> object:
        return object()

    def memberid(self) -> str:
        return "member"


class Desk:
    """Five images in flight, which are answered by hand."""

    def __init__(self, took_s: float = TOOK_S) -> None:
        self.clock = Clock()
        self.broker = SlowBroker(self.clock, took_s)
        self.failures: list[Exception] = []
        self.assignment: Assignment[Publication] = Assignment()
        self.assignment.assign([("images", 0)])
        parts: Any = (Group(), self.broker, self.assignment, Metrics(), self.failures.append)
        self.delivery = ExactlyOnce(
            *parts, timeout_s=5, backoff=Backoff(0.001, 0.01, lambda: 1.0), size=TransactionSize(),
            monotonic=self.clock,
        )  # fmt: skip
        self.tracker = self.assignment.begin([("images", 0, offset, 1) for offset in range(5)])[0]
        self.delivery.start()
        self.delivery.generation_changed()

    def answer(self, *offsets: int) -> None:
        assert self.tracker is not None
        made = Publication("predictions", Outgoing(None, b"answer", []), None)
        self.assignment.ready([(self.tracker, offset, made) for offset in offsets])

    def looked(self) -> None:
        """Wait until the delivery has seen what is there now, and could have begun."""
        asked = self.clock.asked
        eventually(lambda: self.clock.asked > asked + 2, "the delivery looks again")

    def committed(self, transactions: list[int]) -> None:
        eventually(lambda: len(self.broker.transactions) >= len(transactions), "a transaction")
        assert self.broker.transactions == transactions
        assert not self.failures


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.delivery.close(flush=False)


def test_the_first_answer_waits_for_no_other(desk: Desk) -> None:
    desk.answer(0)
    desk.committed([1])


def test_while_images_are_unfinished_the_next_transaction_waits(desk: Desk) -> None:
    desk.answer(0)
    desk.committed([1])
    desk.answer(1)
    desk.looked()
    desk.answer(2)
    desk.looked()
    assert desk.broker.transactions == [1]
    desk.clock.now += PACE * TOOK_S
    desk.committed([1, 2])


def test_it_waits_for_nothing_once_every_image_in_flight_is_answered(desk: Desk) -> None:
    desk.answer(0)
    desk.committed([1])
    desk.answer(1)
    desk.looked()
    desk.answer(2, 3, 4)
    desk.committed([1, 4])


def test_after_a_slow_transaction_the_pause_is_bounded() -> None:
    desk = Desk(took_s=60)
    try:
        desk.answer(0)
        desk.committed([1])
        desk.answer(1)
        desk.looked()
        assert desk.broker.transactions == [1]
        desk.clock.now += LONGEST_PAUSE_S
        desk.committed([1, 1])
    finally:
        desk.delivery.close(flush=False)
