"""No order of events may commit past a record that is not done."""

from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.accounts import Accounts
from bridge.kafka import offsets
from bridge.kafka.assignment import Assignment
from bridge.kafka.offsets import PartitionTracker

KEY = ("images", 0)


class Result(NamedTuple):
    """What an image became."""

    name: str
    reason: tuple[str, str] | None = None
    silent: bool = False


ANSWER = Result("an answer")
LETTER = Result("a letter", ("decode", "empty"))


class Life(RuleBasedStateMachine):
    """One partition that is assigned, read, worked on, committed, revoked and assigned again.

    The model: what the log holds, which records were ever answered, and the committed offset,
    from which each new assignment reads on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(offsets, "MERGE_FROM", 2)  # finished records are merged all the time
        self.accounts = Accounts()
        self.assignment: Assignment[Result] = Assignment(self.accounts)
        self.log: list[int] = []
        self.answered: set[int] = set()
        self.committed = 0
        self.next_read = 0
        self.owned = False
        self.old: list[tuple[PartitionTracker[Result], int]] = []
        self.working: list[tuple[PartitionTracker[Result], int]] = []

    def teardown(self) -> None:
        self.patch.undo()

    @rule(gaps=st.lists(st.integers(1, 3), min_size=1, max_size=5))
    def produce(self, gaps: list[int]) -> None:
        """Offsets have gaps: transaction markers, compaction."""
        for gap in gaps:
            self.log.append((self.log[-1] if self.log else -1) + gap)

    @precondition(lambda self: not self.owned)
    @rule()
    def assign(self) -> None:
        self.assignment.assign([KEY])
        self.owned = True
        self.next_read = self.committed

    @precondition(lambda self: self.owned)
    @rule(count=st.integers(1, 4))
    def read(self, count: int) -> None:
        for offset in [one for one in self.log if one >= self.next_read][:count]:
            (tracker,) = self.assignment.begin([(*KEY, offset, 1)])
            assert tracker is not None
            self.working.append((tracker, offset))
            self.next_read = offset + 1

    @precondition(lambda self: not self.owned)
    @rule(offset=st.integers(0, 5))
    def read_of_a_partition_that_is_gone(self, offset: int) -> None:
        assert self.assignment.begin([(*KEY, offset, 1)]) == [None]

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        tracker, offset = self.working.pop(data.draw(st.integers(0, len(self.working) - 1)))
        self.answered.add(offset)
        self.assignment.finish([(tracker, offset, ANSWER)])

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def finish_late_for_an_old_assignment(self, data: st.DataObject) -> None:
        tracker, offset = self.old.pop(data.draw(st.integers(0, len(self.old) - 1)))
        self.assignment.finish([(tracker, offset, None), (tracker, offset, None)])

    @rule()
    def commit(self) -> None:
        with self.assignment.changed:
            for one in self.assignment.take_completed():
                assert one.offset >= self.committed
                self.committed = one.offset
                one.tracker.mark_committed(one.offset)
        if self.owned:
            left = [offset for _, offset in self.working]
            done = [one for one in self.log if one < min([*left, self.next_read])]
            assert self.committed >= max(done, default=-1) + 1, "all that is answered is committed"

    @precondition(lambda self: self.owned)
    @rule()
    def revoke(self) -> None:
        self.assignment.revoke([KEY])
        self.owned = False
        self.old += self.working
        self.working = []

    @invariant()
    def nothing_below_the_committed_offset_is_unanswered(self) -> None:
        assert {one for one in self.log if one < self.committed} <= self.answered

    @invariant()
    def every_image_is_in_one_sum(self) -> None:
        one = self.accounts
        assert one.received == one.answered + one.dropped + one.in_flight

    @invariant()
    def what_is_in_hand_is_counted(self) -> None:
        assert self.assignment.images == self.assignment.bytes == len(self.working) + len(self.old)


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


def test_the_whole_log_is_committed_once_all_of_it_is_answered() -> None:
    tracker: PartitionTracker[Result] = PartitionTracker("images", 0)
    for offset in (3, 4, 9):
        assert tracker.begin(offset)
    assert tracker.committable() is None
    for offset in (9, 4):
        tracker.finish(offset)
    assert tracker.take() == []
    tracker.finish(3)
    assert [entry.offset for entry in tracker.take()] == [3, 4, 9]
    assert tracker.committable() == 10
    tracker.mark_committed(10)
    assert tracker.committable() is None


def test_what_is_finished_behind_a_record_that_waits_is_not_kept() -> None:
    tracker: PartitionTracker[Result] = PartitionTracker("images", 0)
    for offset in range(100_000):
        assert tracker.begin(offset)
        if offset % 1000:
            tracker.finish(offset)
    assert len(tracker._entries) < 3 * offsets.MERGE_FROM
    assert tracker.take() == []
    for offset in range(0, 50_000, 1000):
        tracker.finish(offset)
    tracker.take()
    assert tracker.committable() == 50_000
    for offset in range(50_000, 100_000, 1000):
        tracker.finish(offset)
    tracker.take()
    assert tracker.committable() == 100_000


def test_outcomes_that_wait_are_kept_behind_a_record_that_waits() -> None:
    tracker: PartitionTracker[Result] = PartitionTracker("images", 0)
    for offset in range(3 * offsets.MERGE_FROM):
        assert tracker.begin(offset)
        if offset:
            tracker.finish(offset, ANSWER)
    tracker.finish(0)
    taken = tracker.take()
    assert [entry.offset for entry in taken] == list(range(3 * offsets.MERGE_FROM))
    assert [entry.result for entry in taken[1:]] == [ANSWER] * (len(taken) - 1)


def test_a_log_that_lost_its_end_is_read_again_from_there() -> None:
    assignment: Assignment[Result] = Assignment()
    assignment.assign([KEY])
    before = assignment.begin([(*KEY, offset, 1) for offset in range(10)])
    fresh, after = assignment.begin([(*KEY, 5, 1), (*KEY, 6, 1)])
    assert fresh is not None
    assert fresh is after
    for offset, tracker in enumerate(before):
        assert tracker is not None
        assert tracker.revoked
        assignment.finish([(tracker, offset, None)])
    with assignment.changed:
        assert assignment.take_completed() == []
    assert assignment.images == 2
    assignment.finish([(fresh, 5, ANSWER)])
    with assignment.changed:
        assert [one.offset for one in assignment.take_completed()] == [6]


def test_answers_that_wait_stay_in_hand_until_released_or_revoked() -> None:
    accounts = Accounts()
    assignment: Assignment[Result] = Assignment(accounts)
    assignment.assign([KEY])
    tracker = assignment.begin([(*KEY, offset, 10) for offset in range(3)])[0]
    assert tracker is not None
    assignment.ready([(tracker, 0, LETTER)])
    assignment.ready([(tracker, 2, ANSWER)])
    assert assignment.bytes == 30
    with assignment.changed:
        (one,) = assignment.take_completed()
    assert (one.offset, [entry.result for entry in one.entries]) == (1, [LETTER])
    assignment.release(tracker, one.entries)
    assert assignment.bytes == 20
    assignment.revoke([KEY])
    assert assignment.bytes == 10
    assignment.ready([(tracker, 1, ANSWER)])
    assert (assignment.images, assignment.bytes) == (0, 0)
    assert (accounts.dead, accounts.answered, accounts.dropped) == ({("decode", "empty"): 1}, 0, 2)
