"""What goes to Triton when."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.backoff import Backoff
from bridge.batching import Batcher
from bridge.inference import InferenceError

AWAY = InferenceError("UNAVAILABLE", "Socket closed")
BUSY = InferenceError("RESOURCE_EXHAUSTED", "busy")


def batcher(max_batch: int = 4, max_inflight: int = 2) -> Batcher[int]:
    return Batcher(max_batch, max_inflight, retry_min_s=1.0, retry_max_s=8.0, rng=lambda: 1.0)


def fill(one: Batcher[int], *items: int) -> None:
    for item in items:
        one.add(item)


def test_a_lone_image_goes_at_once() -> None:
    one = batcher()
    fill(one, 1)
    assert one.next_batch(0.0) == [1]


def test_images_gather_while_all_slots_are_taken_and_go_together_when_one_frees() -> None:
    one = batcher()
    for item in (1, 2):
        fill(one, item)
        assert one.next_batch(0.0) == [item]
    fill(one, 3, 4, 5)
    assert one.next_batch(0.0) is None
    one.succeeded()
    assert one.next_batch(0.0) == [3, 4, 5]
    assert one.next_batch(0.0) is None


def test_a_batch_is_never_larger_than_the_model_takes() -> None:
    one = batcher(max_batch=4)
    fill(one, *range(6))
    assert [one.next_batch(0.0), one.next_batch(0.0)] == [[0, 1, 2, 3], [4, 5]]


def test_a_transient_failure_keeps_order_and_waits_longer_each_time() -> None:
    one = batcher(max_batch=64)
    fill(one, 1, 2)
    now = 0.0
    for wait in (1.0, 2.0, 4.0, 8.0, 8.0):
        batch = one.next_batch(now)
        assert batch == [1, 2]
        assert one.unavailable(batch, now, BUSY) == wait
        assert one.next_batch(now + wait - 0.01) is None
        now += wait
    assert one.backing_off
    assert one.next_batch(now) == [1, 2]
    one.succeeded()
    assert not one.backing_off


def test_a_server_too_slow_for_full_batches_is_asked_for_smaller_ones() -> None:
    one = batcher(max_batch=4, max_inflight=1)
    fill(one, *range(12))
    answered: list[int] = []
    now = 0.0
    while not one.idle:
        now = max(now, one.not_before)
        if one.wants_check(now):
            one.checked(now, well=True)
        batch = one.next_batch(now)
        assert batch is not None
        if len(batch) > 2:
            one.unavailable(batch, now, InferenceError("DEADLINE_EXCEEDED", "too slow"))
        else:
            answered += batch
            one.succeeded()
    assert sorted(answered) == list(range(12))
    assert one.take_culprits() == []


def test_requests_that_fail_together_are_one_outage() -> None:
    one = batcher(max_batch=1)
    fill(one, 1, 2)
    first, second = one.next_batch(0.0), one.next_batch(0.0)
    assert first is not None
    assert second is not None
    assert one.unavailable(first, 0.0, AWAY) == 1.0
    assert one.unavailable(second, 0.25, AWAY) == 0.75
    assert one.not_before == 1.0


def test_one_request_at_a_time_probes_a_server_that_failed() -> None:
    one = batcher(max_batch=1)
    fill(one, 1, 2)
    batch = one.next_batch(0.0)
    assert batch is not None
    one.unavailable(batch, 0.0, BUSY)
    assert one.next_batch(1.0) == [1]
    assert one.next_batch(1.0) is None
    one.succeeded()
    assert one.next_batch(1.0) == [2]


def test_a_refused_batch_is_halved_until_the_culprit_is_alone() -> None:
    one = batcher(max_batch=8, max_inflight=1)
    fill(one, *range(8))
    fill(one, 99)
    answered: list[int] = []
    culprits: list[int] = []
    while (batch := one.next_batch(0.0)) is not None:
        if 5 in batch and len(batch) > 1:
            one.refused(batch)
        else:
            one.succeeded()
            (culprits if 5 in batch else answered).extend(batch)
    assert culprits == [5]
    assert sorted(answered) == [0, 1, 2, 3, 4, 6, 7, 99]
    assert one.idle


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_wait_is_at_least_half_of_what_it_could_be(chance: float) -> None:
    backoff = Backoff(0.1, 5.0, lambda: chance)
    waits = [backoff.next_wait() for _ in range(50)]
    assert waits[0] == pytest.approx(0.05 + 0.05 * chance)
    assert waits[-1] == pytest.approx(2.5 + 2.5 * chance)


class Server:
    """A server that some images take down, and that is there again some seconds later."""

    def __init__(self, one: Batcher[int], culprits: set[int], away_s: float = 7.0) -> None:
        self.one = one
        self.culprits = culprits
        self.away_s = away_s
        self.back_at = 0.0
        self.now = 0.0
        self.deaths = 0
        self.answered: list[int] = []
        self.buried: list[int] = []

    def turn(self) -> None:
        """Send all there are slots for, and let all of it be answered or fail."""
        self.now = max(self.now + 0.01, self.one.not_before)
        if self.one.wants_check(self.now):
            self.one.checked(self.now, well=self.now >= self.back_at)
        batches = []
        while (batch := self.one.next_batch(self.now)) is not None:
            batches.append(batch)
        dies = any(self.culprits.intersection(batch) for batch in batches)
        up = self.now >= self.back_at
        if dies and up:
            self.deaths += 1
            self.back_at = self.now + self.away_s
        for batch in batches:
            if dies or not up:
                self.one.unavailable(batch, self.now, AWAY)
            else:
                self.answered += batch
                self.one.succeeded()
        if self.one.wants_check(self.now):
            self.one.checked(self.now, well=self.now >= self.back_at)
        self.buried += [item for item, _, _ in self.one.take_culprits()]

    def run(self, until: float = 10_000) -> None:
        while not self.one.idle and self.now < until:
            self.turn()


@pytest.mark.parametrize("max_inflight", [1, 2, 4])
@pytest.mark.parametrize("culprits", [set[int](), {0}, {77}, {3, 4}, {0, 130, 299}, {298, 299}])
def test_images_that_take_the_server_down_are_found_and_the_others_are_answered(
    culprits: set[int], max_inflight: int
) -> None:
    one = batcher(max_batch=64, max_inflight=max_inflight)
    fill(one, *range(300))
    server = Server(one, culprits)
    server.run()
    assert sorted(server.buried) == sorted(culprits)
    assert sorted(server.answered) == [item for item in range(300) if item not in culprits]
    assert server.deaths <= (1 + len(culprits)) * 20
    assert not one.backing_off


@pytest.mark.parametrize("count", [1, 6])
def test_an_image_that_takes_the_server_down_with_none_behind_it_is_found_by_checks(
    count: int,
) -> None:
    one = batcher(max_batch=64)
    fill(one, *range(count))
    server = Server(one, {0})
    server.run()
    assert server.buried == [0]
    assert sorted(server.answered) == list(range(1, count))
    assert not one.backing_off


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.floats(0.1, 60), st.floats(0.1, 600)), max_size=8),
    st.integers(1, 4), st.integers(1, 300),
)  # fmt: skip
def test_a_server_that_is_simply_away_costs_no_image(
    outages: list[tuple[float, float]], max_inflight: int, count: int
) -> None:
    one = batcher(max_batch=16, max_inflight=max_inflight)
    server = Server(one, set())
    for up_s, away_s in outages:
        fill(one, *range(len(server.answered), len(server.answered) + 1))
        server.run(server.now + up_s)
        server.back_at = server.now + away_s
        fill(one, *range(count))
        server.run(server.back_at)
    server.run()
    assert not server.buried
    assert one.idle


def test_a_server_that_refuses_requests_while_it_is_busy_costs_no_image() -> None:
    one = batcher()
    fill(one, 1)
    now = 0.0
    for _ in range(50):
        now = max(now, one.not_before)
        if one.wants_check(now):
            one.checked(now, well=True)
        batch = one.next_batch(now)
        assert batch == [1]
        one.unavailable(batch, now, AWAY)
    assert one.take_culprits() == []


OF_AN_IMAGE = [
    "UNAVAILABLE", "NOT_FOUND", "UNIMPLEMENTED", "ALREADY_EXISTS", "CANCELLED", "ABORTED",
    "OUT_OF_RANGE", "FAILED_PRECONDITION", "DATA_LOSS",
]  # fmt: skip
"""What a model can say of an image, its server being well (of Triton's Python backend the first
five)."""


@pytest.mark.parametrize("max_inflight", [1, 2, 4])
@pytest.mark.parametrize("status", [*OF_AN_IMAGE, "RESOURCE_EXHAUSTED"])
def test_images_that_the_model_will_not_answer_hold_up_no_other(
    status: str, max_inflight: int
) -> None:
    culprits = {0, 77, 130}
    one = batcher(max_batch=64, max_inflight=max_inflight)
    fill(one, *range(300))
    answered: list[int] = []
    buried: list[int] = []
    now = 0.0
    for number in range(1000):
        fill(one, 1000 + number)  # others go on coming
        now = max(now + 0.01, one.not_before)
        if one.wants_check(now):
            one.checked(now, well=True)
        batches = []
        while (batch := one.next_batch(now)) is not None:
            batches.append(batch)
        for batch in batches:
            if culprits.intersection(batch):
                one.unavailable(batch, now, InferenceError(status, "not this one"))
            else:
                answered += batch
                one.succeeded()
        buried += [item for item, _, _ in one.take_culprits()]
    assert set(range(300)) - culprits <= set(answered)
    assert len(answered) == len(set(answered)) > 1200
    # One that is busy says nothing of an image: such images are asked about again and again.
    assert sorted(buried) == ([] if status == BUSY.status else sorted(culprits))


def test_images_that_need_no_answer_any_more_are_taken_out_wherever_they_wait() -> None:
    batcher: Batcher[int] = Batcher(4, 1, rng=lambda: 1.0)
    for number in range(12):
        batcher.add(number)
    first = batcher.next_batch(0)
    assert first is not None
    batcher.unavailable(first, 0, InferenceError("UNAVAILABLE", "away"))  # now a suspect
    batcher.checked(100, well=True)
    second = batcher.next_batch(200)
    assert second is not None
    batcher.refused(second)  # now two halves that go alone
    assert sorted(batcher.discard(lambda number: number % 2 == 1)) == [1, 3, 5, 7, 9, 11]
    left: list[int] = []
    while (batch := batcher.next_batch(300)) is not None:
        left += batch
        batcher.succeeded()
    assert sorted(left) == [0, 2, 4, 6, 8, 10]


def test_a_request_that_waits_to_be_tried_alone_holds_up_no_other() -> None:
    one = batcher(max_batch=2, max_inflight=2)
    fill(one, 1, 2, 3, 4, 5, 6, 7, 8)
    one.next_batch(0)
    one.parked = 1
    second, third = one.next_batch(0), one.next_batch(0)
    assert (second, third, one.next_batch(0)) == ([3, 4], [5, 6], None)
    one.unavailable([3, 4], 0, InferenceError("RESOURCE_EXHAUSTED", "busy"))
    one.succeeded()
    assert one.next_batch(10) is not None  # none but the one that waits is in flight
    one.succeeded()
    while one.next_batch(20) is not None:
        one.succeeded()
    assert one.stalled, "nothing but what waits"
    one.parked = 0
    one.succeeded(in_parts=True)
    assert one.idle


def test_after_a_batch_that_was_answered_in_parts_the_next_is_smaller() -> None:
    one = batcher(max_batch=4)
    fill(one, *range(8))
    assert one.next_batch(0) == [0, 1, 2, 3]
    one.succeeded(in_parts=True)
    assert one.next_batch(0) == [4, 5]
