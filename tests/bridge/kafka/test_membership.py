"""What is known of the group and of reading, with a clock of the test's own."""

import pytest
from confluent_kafka import KafkaError

from bridge.kafka.membership import ASK_AGAIN_S, QUIET_S, STUCK_S, Membership

A, B = ("images", 0), ("images", 1)
ANY = (None, None)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def due(membership: Membership) -> bool:
    return membership.due


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def membership(clock: Clock) -> Membership:
    return Membership("cats", clock)


@pytest.fixture
def reading(membership: Membership) -> Membership:
    membership.assigned([A, B], {A: 5})
    membership.read(A, 6)
    return membership


def test_a_bridge_is_ready_once_it_has_joined_and_read(membership: Membership) -> None:
    assert membership.problem == "has not joined the group 'cats' yet"
    membership.assigned([A], {})
    assert membership.problem == "nothing was read from its partitions yet"
    membership.read(A, 0)  # the end of an empty partition
    assert membership.problem is None


def test_one_bridge_too_many_has_nothing_to_read_and_is_ready(membership: Membership) -> None:
    membership.assigned([], {})
    assert membership.problem is None


def test_the_group_in_use_with_another_protocol_is_named_until_it_is_joined(
    membership: Membership,
) -> None:
    membership.failed(ANY, KafkaError.INCONSISTENT_GROUP_PROTOCOL, "Inconsistent group protocol")
    assert membership.problem == "group 'cats': Inconsistent group protocol"
    membership.assigned([], {})
    assert membership.problem is None


def test_a_partition_that_cannot_be_read_is_named_until_it_can(reading: Membership) -> None:
    reading.failed(B, KafkaError.TOPIC_AUTHORIZATION_FAILED, "Topic authorization failed")
    reading.read(A, 7)
    assert reading.problem == "partition 1 of images: Topic authorization failed"
    reading.read(B, 0)
    assert reading.problem is None


def test_a_partition_that_could_not_be_read_and_went_is_no_reason(reading: Membership) -> None:
    reading.failed(B, KafkaError.TOPIC_AUTHORIZATION_FAILED, "Topic authorization failed")
    reading.gone([B])
    assert reading.problem is None


def test_a_topic_that_is_gone_is_named_though_the_group_goes_on(reading: Membership) -> None:
    reading.gone([A, B])
    reading.failed(("images", None), KafkaError.UNKNOWN_TOPIC_OR_PART, "Unknown topic")
    reading.assigned([], {})
    assert reading.problem == "Unknown topic"
    reading.assigned([A], {})
    reading.read(A, 0)
    assert reading.problem is None


def test_a_member_that_was_put_out_is_not_ready(reading: Membership) -> None:
    reading.gone([A, B], lost=True)
    assert reading.problem == "has not joined the group 'cats' yet"


def test_the_group_is_asked_when_it_was_quiet_and_sooner_while_it_refuses(
    reading: Membership, clock: Clock
) -> None:
    clock.now += QUIET_S - 1
    assert not due(reading)
    clock.now += 1
    assert due(reading)
    reading.asked("Group authorization failed")
    assert str(reading.problem) == "group 'cats': Group authorization failed"
    assert not due(reading)
    clock.now += QUIET_S / 2
    assert due(reading)
    reading.asked(None)
    assert not reading.problem
    assert not due(reading)


def test_a_commit_that_is_refused_stays_the_reason_until_one_is_taken(reading: Membership) -> None:
    reading.committed("Group authorization failed")
    reading.asked(None)
    assert reading.problem == "group 'cats': Group authorization failed"
    reading.committed(None)
    assert reading.problem is None


def test_brokers_that_come_back_are_known_without_statistics(reading: Membership) -> None:
    reading.brokers(up=False)
    assert reading.problem == "no broker can be reached"
    reading.asked(None)
    assert reading.problem is None


def test_lag_is_what_was_not_read_and_what_is_in_flight(reading: Membership) -> None:
    assert reading.lags({A: 10, B: 4}, {A: 3}) == {A: 7}  # where B is read from is not known yet
    reading.read(A, 12)  # over transactions' markers
    reading.read(B, 4)
    assert reading.lags({A: 12, B: 4}, {}) == {A: 0, B: 0}
    assert reading.lags({A: 10, B: 5}, {B: 1}) == {A: 0, B: 2}  # an end from before that reading
    reading.gone([A])
    assert reading.lags({A: 20, B: 4}, {}) == {B: 0}


def test_a_read_says_what_was_to_come_next(reading: Membership) -> None:
    assert reading.read(A, 20) == 6
    assert reading.read(B, 3) is None


def test_a_partition_that_cannot_be_read_is_tried_anew_now_and_then(
    reading: Membership, clock: Clock
) -> None:
    reading.failed(B, KafkaError.TOPIC_AUTHORIZATION_FAILED, "Topic authorization failed")
    clock.now += ASK_AGAIN_S
    assert reading.to_try() == [B]
    assert reading.to_try() == []
    clock.now += ASK_AGAIN_S
    reading.read(B, 0)
    assert reading.to_try() == []


def test_a_partition_whose_records_do_not_come_is_named_until_one_does(
    reading: Membership, clock: Clock
) -> None:
    def look(seconds: float, *, paused: bool = False, emptied: bool = True) -> str | None:
        clock.now += seconds
        reading.brokers(up=True)
        reading.looked(paused=paused, emptied=emptied)
        return reading.problem

    reading.read(B, 9)
    reading.lags({A: 8, B: 9}, {})
    assert look(0) is None
    assert look(STUCK_S - 1) is None
    assert look(1, emptied=False) is None, "it may be behind those of other partitions"
    assert look(0) == "partition 0 of images: the record at offset 6 does not come for 60 s"
    reading.read(A, 7)
    assert look(0) is None
    assert look(STUCK_S, paused=True) is None, "nothing is to be read"
    assert look(0) is None
    assert look(STUCK_S) is not None
    reading.read(A, 8)
    assert look(STUCK_S) is None, "it is read to its end"
    reading.lags({A: 9, B: 9}, {})
    reading.gone([A])
    assert look(2 * STUCK_S) is None
