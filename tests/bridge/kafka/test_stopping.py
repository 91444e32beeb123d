"""A stop while the group rebalances, and a revocation in the middle of a fetch."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from confluent_kafka import Message, TopicPartition

from bridge.images import Publication, ReceivedRecord
from bridge.kafka.assignment import Assignment
from bridge.kafka.delivery import Delivery
from bridge.kafka.intake import Intake
from bridge.metrics import Metrics
from bridge.room import Room

KEY = ("images", 0)
PLACES = [TopicPartition(*KEY)]


class Group:
    """A consumer whose group is on its way to another generation from the first record on.

    Args:
        turns: how often it is polled until it has arrived; None: it never does.
    """

    def __init__(self, turns: int | None) -> None:
        self._left = turns
        self.settled = False
        self.stop: Callable[[], None] | None = None

    def subscribe(self, _topics: Sequence[str], **callbacks: Callable[..., None]) -> None:
        self._callbacks = callbacks
        self._began = False

    def poll(self, _timeout_s: float) -> Message | None:
        if not self._began:
            self._began = True
            self._callbacks["on_assign"](self, PLACES)
            return Message(topic=KEY[0], partition=KEY[1], offset=0, value=b"")
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.settled = True
                self._callbacks["on_assign"](self, [])
        return None

    def consume(self, _count: int, _timeout_s: float) -> list[Message]:
        assert self.stop is not None
        self.stop()
        return []

    def pause(self, _places: object) -> None:
        pass

    def close(self) -> None:
        pass


class Committing:
    """A delivery whose commits are taken once the group has settled."""

    def __init__(self, group: Group, assignment: Assignment[Publication]) -> None:
        self._group = group
        self._assignment = assignment
        self.committed = 0

    def commit(self, *, wait: bool) -> None:
        with self._assignment.changed:
            completed = self._assignment.take_completed()
        if wait and self._group.settled:
            for one in completed:
                one.tracker.mark_committed(one.offset)
                self.committed = one.offset

    def generation_changed(self) -> None:
        pass


def stopped(turns: int | None, drain_timeout_s: float) -> tuple[Intake, Committing]:
    """An intake that took one image, which is answered at once, and was stopped then."""
    assignment: Assignment[Publication] = Assignment()
    group = Group(turns)
    failures: list[Exception] = []
    delivery = Committing(group, assignment)

    def take(arrivals: Sequence[ReceivedRecord]) -> None:
        assignment.finish((arrival.tracker, arrival.key, None) for arrival in arrivals)

    intake = Intake(
        cast("Any", group), KEY[0], assignment, Metrics(), take=take,
        delivery=cast("Delivery", delivery), room=Room(64, 1 << 20),
        commit_interval_s=0.1, drain_timeout_s=drain_timeout_s, stalled=lambda: False,
        failed=failures.append,
    )  # fmt: skip
    group.stop = intake.stop

    intake.start()
    assert intake.join(30)
    assert not failures
    return intake, delivery


def test_the_last_commit_is_made_under_the_generation_that_comes() -> None:
    intake, delivery = stopped(turns=3, drain_timeout_s=60)
    assert delivery.committed == 1
    assert intake.left is None


def test_a_last_commit_that_fails_is_said() -> None:
    intake, delivery = stopped(turns=None, drain_timeout_s=0.2)
    assert delivery.committed == 0
    assert intake.left is not None
    assert "could not be committed" in intake.left


class RevokedInAFetch(Group):
    """A consumer whose partition goes while it is asked for the rest of a fetch."""

    def consume(self, _count: int, _timeout_s: float) -> list[Message]:
        self.settled = True
        self._callbacks["on_revoke"](self, PLACES)
        assert self.stop is not None
        self.stop()
        return []


def test_a_revocation_in_a_fetch_waits_for_nothing_that_was_not_handed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(globals(), "Group", RevokedInAFetch)
    intake, delivery = stopped(turns=None, drain_timeout_s=25)
    assert delivery.committed == 1
    assert intake.left is None
