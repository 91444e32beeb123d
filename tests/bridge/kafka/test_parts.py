"""A record with several images, or none, in both deliveries."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bridge.accounts import Accounts
from bridge.fuse import Fuse
from bridge.images import NOTHING, DecodedImage, EndedRequest, Publication, ReceivedRecord
from bridge.kafka.assignment import Assignment, Completed
from bridge.kafka.offsets import Entry, PartitionTracker
from bridge.kafka.transaction_size import split
from tests.bridge.fakes import NOW_NS, PIXELS, Broker, good, raw_image
from tests.bridge.test_delivery import BIG, BOTH, Desk
from wire.image import decode_image
from wire.record import Outgoing, StoredRecord

ANSWER = Publication("predictions", Outgoing(b"k", b"v", []))
LETTER = Publication("dlq", Outgoing(b"k", b"v", []), reason=("fetch", "not_found"))


def counted() -> tuple[Accounts, Assignment[Publication]]:
    accounts = Accounts()
    assignment: Assignment[Publication] = Assignment(accounts)
    assignment.assign([("images", 0)])
    return accounts, assignment


def test_a_record_is_completed_when_all_of_its_images_are() -> None:
    accounts, assignment = counted()
    (tracker,) = assignment.begin([("images", 0, 7, 100)])
    assert tracker is not None
    keys = assignment.split(tracker, 7, [10, 20, 30])
    assert keys is not None
    assert (accounts.received, accounts.in_flight, accounts.bytes) == (3, 3, 60)
    for key in (keys[1], keys[2], keys[0]):
        assert assignment.take_completed() == []
        assignment.finish([(tracker, key, ANSWER)])
    (done,) = assignment.take_completed()
    assert (done.offset, len(done.entries)) == (8, 3)
    assert (accounts.answered, accounts.in_flight, accounts.bytes) == (3, 0, 0)


def test_a_record_without_an_image_is_neither_answered_nor_dropped() -> None:
    accounts, assignment = counted()
    (tracker,) = assignment.begin([("images", 0, 7, 100)])
    assert tracker is not None
    assignment.finish([(tracker, 7, NOTHING)])
    assert (accounts.skipped, accounts.answered, accounts.dropped) == (1, 0, 0)
    assert accounts.received == accounts.skipped
    assert not accounts.dead


def test_images_of_a_record_that_goes_are_dropped_once() -> None:
    accounts, assignment = counted()
    (tracker,) = assignment.begin([("images", 0, 7, 100)])
    assert tracker is not None
    keys = assignment.split(tracker, 7, [10, 20, 30]) or []
    assignment.ready([(tracker, keys[0], ANSWER)])
    assignment.revoke([("images", 0)])
    assignment.ready([(tracker, keys[1], LETTER)])
    assignment.finish([(tracker, keys[2], None)])
    assert (accounts.dropped, accounts.in_flight, accounts.bytes) == (3, 0, 0)


def test_bytes_that_are_added_go_with_their_image() -> None:
    accounts, assignment = counted()
    (tracker,) = assignment.begin([("images", 0, 7, 100)])
    assert tracker is not None
    released: list[int] = []
    assignment.when_released(lambda: released.append(1))
    assignment.resize(tracker, 7, 50)
    assert (accounts.bytes, assignment.extra_bytes, released) == (150, 50, [])
    assignment.resize(tracker, 7, -50)
    assert (accounts.bytes, assignment.extra_bytes, released) == (100, 0, [1])
    assignment.finish([(tracker, 7, ANSWER)])
    assignment.resize(tracker, 7, 50)
    assert accounts.bytes == 0


@pytest.mark.parametrize("limit", range(1, 8))
def test_images_of_one_record_are_never_in_two_transactions(limit: int) -> None:
    tracker: PartitionTracker[Publication] = PartitionTracker("images", 0)
    offsets = [0, 1, 1, 1, 2, 3, 3]
    entries: list[Entry[Publication]] = [Entry(offset, 1) for offset in offsets]
    rest = [Completed(tracker, 4, entries)]
    seen: list[int] = []
    while rest:
        part, rest = split(rest, limit)
        taken = [entry.offset for one in part for entry in one.entries]
        assert taken, "each transaction has something"
        assert not set(taken) & {entry.offset for one in rest for entry in one.entries}
        assert part[-1].offset == taken[-1] + 1
        seen += taken
    assert seen == offsets


@pytest.fixture(params=["at-least-once", "exactly-once"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    one = Desk(request.param, Broker({"predictions": BIG}), Fuse(0, 0, 100))
    one.delivery.start()
    one.delivery.generation_changed()
    yield one
    one.delivery.close(flush=False)


def take_apart(desk: Desk, offset: int, keys: list[bytes]) -> list[ReceivedRecord]:
    (whole,) = desk.arrivals(raw_image(offset))
    assert isinstance(whole.key, int)
    parts = desk.assignment.split(whole.tracker, whole.key, [100] * len(keys))
    assert parts is not None
    records: list[StoredRecord] = [raw_image(offset, key=key) for key in keys]
    return [
        ReceivedRecord(record, whole.tracker, part, NOW_NS)
        for record, part in zip(records, parts, strict=True)
    ]


def answer(desk: Desk, arrivals: list[ReceivedRecord]) -> None:
    batch = [DecodedImage(one, decode_image(one.record), PIXELS, NOW_NS) for one in arrivals]
    made = good([PIXELS] * len(batch))
    desk.outlet.answer(EndedRequest(batch, NOW_NS, NOW_NS, made), made)


def test_each_image_of_a_record_is_published_once(desk: Desk) -> None:
    arrivals = take_apart(desk, 0, [b"a", b"b", b"c"])
    desk.answer(raw_image(1))
    answer(desk, arrivals[:2])
    desk.outlet.dead_letter(arrivals[2], "fetch", "not_found", "404")
    desk.settle()
    assert not desk.failures
    assert desk.committed == {0: 2}
    by_topic = sorted((topic, record.key) for topic, record in desk.published() if record.key)
    assert by_topic == [("dlq", b"c"), ("predictions", b"a"), ("predictions", b"b")]


def test_a_record_that_needs_no_answer_is_committed(desk: Desk) -> None:
    for arrival in desk.arrivals(raw_image(0), raw_image(1)):
        desk.outlet.skip(arrival)
    desk.answer(raw_image(2))
    desk.settle()
    assert desk.committed == {0: 3}
    assert len(desk.published()) == 1
    assert desk.accounts.skipped == 2


@BOTH
def test_one_image_too_large_costs_none_of_the_others(kind: str) -> None:
    # What a broker refuses is one of several in the same transaction, which go together.
    desk = Desk(kind, Broker({"predictions": 3 * BIG}), Fuse(0, 0, 100))
    desk.delivery.start()
    desk.delivery.generation_changed()
    answer(desk, take_apart(desk, 0, [b"a", b"b" * 4 * BIG, b"c"]))
    desk.settle()
    desk.delivery.close(flush=False)
    assert not desk.failures
    found = sorted((topic, (record.key or b"")[:1]) for topic, record in desk.published())
    assert [topic for topic, key in found if key in (b"a", b"c")] == ["predictions"] * 2
    assert [topic for topic, _ in found].count("dlq") == 1
    assert desk.committed == {0: 1}


@BOTH
def test_an_image_that_needs_no_answer_stops_nothing_beside_one_that_is_refused(kind: str) -> None:
    desk = Desk(kind, Broker({}, compacted={"predictions"}), Fuse(0, 0, 100))
    desk.delivery.start()
    desk.delivery.generation_changed()
    answered, skipped = take_apart(desk, 0, [b"a", b"b"])
    answer(desk, [replace(answered, record=raw_image(0))])
    desk.outlet.skip(skipped)
    desk.settle()
    desk.delivery.close(flush=False)
    assert not desk.failures
    assert [topic for topic, _ in desk.published()] == ["dlq"]
    assert desk.committed == {0: 1}


@BOTH
def test_headers_too_large_for_a_letter_cost_no_answer_beside_it(kind: str) -> None:
    desk = Desk(kind, Broker({"dlq": BIG}), Fuse(0, 0, 100))
    desk.delivery.start()
    desk.delivery.generation_changed()
    answered, buried = take_apart(desk, 0, [b"a", b"b"])
    answer(desk, [answered])
    large = raw_image(0, ("camera", b"x" * 2 * BIG), key=b"b")
    desk.outlet.dead_letter(replace(buried, record=large), "fetch", "not_found", "404")
    desk.settle()
    desk.delivery.close(flush=False)
    assert not desk.failures
    assert sorted((topic, record.key) for topic, record in desk.published()) == [
        ("dlq", b"b"),
        ("predictions", b"a"),
    ]
