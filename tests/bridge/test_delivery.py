"""Both deliveries through their protocols: what Kafka refuses becomes less, and is never lost."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest
from confluent_kafka import KafkaError

from bridge.backoff import Backoff
from bridge.fuse import Fuse, FuseBlownError
from bridge.images import DecodedImage, EndedRequest, Publication, ReceivedRecord
from bridge.kafka.assignment import Assignment
from bridge.kafka.at_least_once import AtLeastOnce
from bridge.kafka.delivery import Delivery, DeliveryError
from bridge.kafka.exactly_once import UNDELIVERED, ExactlyOnce
from bridge.kafka.transaction_size import TransactionSize
from bridge.kafka.transactions import FencedError
from bridge.metrics import Metrics
from bridge.outlet import Outlet
from bridge.predicting import Predictions
from bridge.routing import Routes
from tests.bridge.fakes import NOW_NS, PIXELS, Broker, Report, good, raw_image, size
from wire.deadletter import decode_dead_letter
from wire.image import decode_image
from wire.record import Outgoing, StoredRecord

BOTH = pytest.mark.parametrize("kind", ["at-least-once", "exactly-once"])
BIG = 5000


class Group:
    """A consumer as far as delivery looks at it."""

    def __init__(self) -> None:
        self.offsets: dict[int, int] = {}

    def consumer_group_metadata(self) -> object:
        return object()

    def memberid(self) -> str:
        return "member"

    def commit(self, *, offsets: Any, asynchronous: bool) -> None:
        assert not asynchronous
        self.offsets |= {one.partition: one.offset for one in offsets}


class Desk:
    """A delivery with an outlet before it, whose images are answered or buried by hand."""

    def __init__(
        self, kind: str, broker: Broker, fuse: Fuse, transactions: TransactionSize | None = None
    ) -> None:
        self.broker = broker
        self.group = Group()
        self.failures: list[Exception] = []
        metrics = Metrics()
        self.accounts = metrics.images
        self.assignment: Assignment[Publication] = Assignment(self.accounts)
        self.assignment.assign([("images", 0)])
        common: Any = (self.group, broker, self.assignment, metrics, self._failed)
        self.delivery: Delivery
        if kind == "at-least-once":
            self.delivery = AtLeastOnce(*common)
        else:
            backoff = Backoff(0.001, 0.01, lambda: 1.0)
            self.delivery = ExactlyOnce(
                *common, timeout_s=5, backoff=backoff, size=transactions or TransactionSize()
            )
        self.outlet = Outlet(
            predictions=Predictions(
                model="net", source="bridge", routes=Routes("predictions"),
                clock_ns=lambda: NOW_NS,
            ),
            dead_letters_topic="dlq", delivery=self.delivery, assignment=self.assignment,
            fuse=fuse, metrics=metrics, clock_ns=lambda: NOW_NS,
        )  # fmt: skip

    def _failed(self, error: Exception) -> None:
        with self.assignment.changed:
            self.failures.append(error)
            self.assignment.changed.notify_all()

    def arrivals(self, *records: StoredRecord) -> list[ReceivedRecord]:
        trackers = self.assignment.begin([("images", 0, r.offset(), r.size) for r in records])
        return [
            ReceivedRecord(record, tracker, record.offset(), NOW_NS)
            for record, tracker in zip(records, trackers, strict=True)
            if tracker is not None
        ]

    def answer(self, *records: StoredRecord) -> None:
        batch = [
            DecodedImage(one, decode_image(one.record), PIXELS, NOW_NS)
            for one in self.arrivals(*records)
        ]
        answer = good([PIXELS] * len(batch))
        self.outlet.answer(EndedRequest(batch, NOW_NS, NOW_NS, answer), answer)

    def dead_letter(self, *records: StoredRecord) -> None:
        for arrival in self.arrivals(*records):
            self.outlet.dead_letter(arrival, "decode", "not_an_image", "no image " + "x" * 500)

    def settle(self) -> None:
        """Wait until nothing is in flight, or the delivery has failed."""
        with self.assignment.changed:
            done = lambda: self.failures or not self.assignment.images  # noqa: E731
            assert self.assignment.changed.wait_for(done, 8), "images are still in flight"
        self.delivery.commit(wait=True)

    @property
    def committed(self) -> dict[int, int]:
        return self.group.offsets or self.broker.offsets

    def published(self) -> list[tuple[str, Outgoing]]:
        return self.broker.log

    def letters(self) -> dict[int, Outgoing]:
        """The dead letters by the offset that they name; each image has one."""
        found: dict[int, Outgoing] = {}
        for topic, record in self.broker.log:
            if topic == "dlq":
                letter = decode_dead_letter(StoredRecord(record_headers=record.headers))
                assert (letter.topic, letter.partition) == ("images", 0)
                assert letter.offset not in found
                found[letter.offset] = record
        return found

    def answers(self) -> int:
        return sum(topic == "predictions" for topic, _ in self.broker.log)


Start = Callable[..., Desk]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Desk] = []

    def make(
        kind: str,
        broker: Broker,
        fuse: Fuse | None = None,
        transactions: TransactionSize | None = None,
    ) -> Desk:
        desk = Desk(kind, broker, fuse or Fuse(0, 0, 100), transactions)
        desk.delivery.start()
        desk.delivery.generation_changed()
        running.append(desk)
        return desk

    yield make
    for desk in running:
        desk.delivery.close(flush=False)


@BOTH
def test_answers_and_letters_are_published_and_committed(kind: str, start: Start) -> None:
    desk = start(kind, Broker({}))
    desk.answer(*(raw_image(offset) for offset in range(40)))
    desk.dead_letter(raw_image(40))
    desk.settle()
    assert not desk.failures
    assert (desk.answers(), list(desk.letters())) == (40, [40])
    assert desk.committed == {0: 41}


@BOTH
@pytest.mark.parametrize("refuser", ["the broker", "the client", "the queue"])
def test_a_letter_loses_value_then_headers_then_key_and_never_where_the_image_was(
    kind: str, refuser: str, start: Start
) -> None:
    broker = {
        "the broker": Broker({"dlq": 2000}),
        "the client": Broker({}, own_limit=2000),
        "the queue": Broker({}, queue=2000),
    }[refuser]
    desk = start(kind, broker)
    naming = [("ce_id", b"door"), ("ce_runid", b"r1")]
    records = {
        "value": raw_image(0, *naming, key=b"k"),
        "headers": raw_image(1, *naming, ("x-big", b"h" * BIG), key=b"k"),
        "key": raw_image(2, *naming, key=b"k" * BIG),
        "names": raw_image(3, ("ce_id", b"n" * BIG), key=b"k" * BIG),
    }
    records["value"].record_value = b"v" * BIG
    desk.dead_letter(*records.values())
    desk.settle()
    assert not desk.failures
    letters = desk.letters()
    assert set(letters) == {0, 1, 2, 3}
    marks = {
        offset: {name for name, _ in letter.headers if name.endswith(".omitted")}
        for offset, letter in letters.items()
    }
    assert marks[0] == {"dlq.value.omitted"}
    assert marks[1] == {"dlq.value.omitted", "dlq.headers.omitted"}
    assert marks[2] == {"dlq.value.omitted", "dlq.headers.omitted", "dlq.key.omitted"}
    assert marks[3] == marks[2]
    assert letters[1].key == b"k"
    for offset in (0, 1, 2):
        assert dict(letters[offset].headers)["ce_id"] == b"door"
    for letter in letters.values():
        assert dict(letter.headers)["dlq.error.class"] == b"not_an_image"
    assert desk.committed == {0: 4}


@BOTH
def test_the_smallest_letter_needs_less_than_a_kilobyte(kind: str, start: Start) -> None:
    desk = start(kind, Broker({"dlq": 700}))
    record = raw_image(0, *((f"h{i}", b"x") for i in range(1000)), key=b"k" * BIG)
    desk.dead_letter(record)
    desk.settle()
    assert not desk.failures
    (letter,) = desk.letters().values()
    assert letter.key is None
    assert dict(letter.headers)["dlq.headers.omitted"] == b"1003"


@BOTH
def test_a_prediction_that_is_too_large_becomes_a_letter_and_its_neighbours_are_answered(
    kind: str, start: Start
) -> None:
    desk = start(kind, Broker({"predictions": 4000}))
    records = [raw_image(offset, key=b"k" * BIG if offset == 7 else b"k") for offset in range(20)]
    desk.answer(*records)
    desk.settle()
    assert not desk.failures
    assert desk.answers() == 19
    (letter,) = desk.letters().values()
    headers = dict(letter.headers)
    assert (headers["dlq.error.stage"], headers["dlq.error.class"]) == (b"publish", b"too_large")
    assert headers["dlq.offset"] == b"7"
    assert letter.value == PIXELS
    assert desk.committed == {0: 20}
    assert desk.accounts.answered == 19, "what was replaced is no answer"
    assert desk.accounts.dead == {("publish", "too_large"): 1}
    assert desk.accounts.in_flight == desk.accounts.bytes == 0


@BOTH
def test_one_large_letter_without_a_key_takes_nothing_from_the_others(
    kind: str, start: Start
) -> None:
    desk = start(kind, Broker({"dlq": 4000}))
    records = [raw_image(offset) for offset in range(20)]
    records[11].record_headers = [*(records[11].record_headers or ()), ("x", b"y" * BIG)]
    desk.dead_letter(*records)
    desk.settle()
    assert not desk.failures
    letters = desk.letters()
    assert set(letters) == set(range(20))
    assert [offset for offset, letter in letters.items() if letter.value is None] == [11]


@BOTH
def test_a_request_that_is_too_large_as_a_whole_costs_no_record_anything(
    kind: str, start: Start
) -> None:
    desk = start(kind, Broker({"predictions": 1500}))
    desk.answer(*(raw_image(offset) for offset in range(30)))
    desk.settle()
    assert not desk.failures
    assert (desk.answers(), desk.letters()) == (30, {})
    assert all(size(record) < 1500 for _, record in desk.published())


@BOTH
def test_a_topic_that_takes_not_even_the_smallest_letter_stops_the_bridge(
    kind: str, start: Start
) -> None:
    desk = start(kind, Broker({"dlq": 100}))
    desk.dead_letter(raw_image(0))
    desk.settle()
    assert [type(failure) for failure in desk.failures] == [DeliveryError]
    assert "max.message.bytes" in str(desk.failures[0])
    assert desk.committed == {}


@BOTH
def test_predictions_that_are_refused_count_for_the_fuse(kind: str, start: Start) -> None:
    desk = start(kind, Broker({"predictions": 100}), Fuse(5, 0, 100))
    desk.answer(*(raw_image(offset) for offset in range(20)))
    desk.settle()
    assert "fuse_consecutive" in str(desk.failures[0])
    desk.delivery.flush(8)
    desk.delivery.commit(wait=True)
    assert sorted(desk.letters()) == [0, 1, 2, 3]
    assert desk.committed == {0: 4}, "what is complete is committed, and not sent again"
    assert desk.accounts.dead == {("publish", "too_large"): 4}
    assert (desk.accounts.answered, desk.accounts.in_flight) == (0, 16)


@BOTH
def test_what_cannot_pass_is_not_tried_for_ever(kind: str, start: Start) -> None:
    broker = Broker({})
    broker.unreachable = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    desk = start(kind, broker)
    desk.answer(raw_image(0))
    desk.settle()
    assert [type(failure) for failure in desk.failures] == [DeliveryError]
    assert desk.committed == {}
    assert (desk.accounts.answered, desk.accounts.in_flight) == (0, 1), "published is not counted"


def test_a_client_that_delivers_nothing_is_replaced(start: Start) -> None:
    """librdkafka can keep the records of a broker that was killed for ever."""
    broker = Broker({})
    broker.unreachable = KafkaError(KafkaError._MSG_TIMED_OUT)
    desk = start("exactly-once", broker)
    desk.answer(raw_image(0))
    desk.settle()
    assert [type(failure) for failure in desk.failures] == [FencedError]
    assert broker.aborts == UNDELIVERED
    assert desk.committed == {}


class SlowNetwork(Broker):
    """One that gets only so many records before the time for a transaction is over."""

    most = 100

    def begin_transaction(self) -> None:
        super().begin_transaction()
        self.unreachable = None

    def produce(self, *args: Any, **options: Any) -> None:
        super().produce(*args, **options)
        if len(self.log) - self.before + len(self.waiting) > self.most:
            self.unreachable = KafkaError(KafkaError._MSG_TIMED_OUT)


def test_what_a_slow_network_takes_is_found_by_client_after_client(start: Start) -> None:
    """Each client is replaced after its second transaction: the next one goes on with less."""
    size = TransactionSize()
    desks: list[Desk] = []
    while not desks or (desks[-1].failures and len(desks) < 10):
        desk = start("exactly-once", SlowNetwork({}), transactions=size)
        desks.append(desk)
        desk.answer(*(raw_image(offset) for offset in range(2000)))
        desk.settle()
    fenced = [[type(failure) for failure in desk.failures] for desk in desks]
    # With transactions of 2000 and 1000 images; of 500 and 250; of 125 and 62.
    assert fenced == [[FencedError], [FencedError], []]
    assert (desk.answers(), desk.committed) == (2000, {0: 2000})


def test_answers_that_come_before_the_generation_is_known_wait_for_it() -> None:
    desk = Desk("exactly-once", Broker({}), Fuse(0, 0, 100))
    desk.delivery.start()
    try:
        desk.answer(*(raw_image(offset) for offset in range(10)))
        desk.delivery.flush(1)
        assert desk.published() == []
        desk.delivery.generation_changed()
        desk.settle()
        assert (desk.answers(), desk.committed) == (10, {0: 10})
    finally:
        desk.delivery.close(flush=False)


@BOTH
def test_a_fuse_that_blows_while_a_batch_is_handed_over_loses_none_before_it(
    kind: str, start: Start
) -> None:
    desk = start(kind, Broker({}, own_limit=2000), Fuse(1, 0, 100))
    records = [raw_image(offset, key=b"k" * BIG if offset == 7 else b"k") for offset in range(20)]
    with suppress(FuseBlownError):  # at least once, on the thread that hands it over
        desk.answer(*records)
    desk.delivery.flush(8)
    desk.delivery.commit(wait=True)
    assert desk.committed == ({0: 7} if kind == "at-least-once" else {})
    assert desk.answers() == sum(desk.committed.values())


class Reporting(Broker):
    """A client whose reports come on two threads, as those of one batch can."""

    def flush(self, _timeout_s: float) -> int:
        waiting, self.waiting = self.waiting, []
        halves = (waiting[::2], waiting[1::2])

        def report(records: Sequence[tuple[str, Outgoing, Callable[..., None]]]) -> None:
            for topic, record, on_delivery in records:
                on_delivery(None, Report(topic, record.key, record.value))

        threads = [Thread(target=report, args=(half,)) for half in halves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 0


def test_reports_that_come_on_two_threads_are_each_counted_once(start: Start) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        desk = start("at-least-once", Reporting({}))
        for first in range(0, 2000, 50):
            desk.answer(*(raw_image(offset) for offset in range(first, first + 50)))
        desk.settle()
    finally:
        sys.setswitchinterval(interval)
    assert not desk.failures
    assert (desk.accounts.answered, desk.accounts.in_flight) == (2000, 0)
    assert desk.committed == {0: 2000}


def test_thousands_of_answers_are_split_and_a_culprit_among_them_is_found(start: Start) -> None:
    broker = Broker({"predictions": 8000})
    desk = start("exactly-once", broker)
    culprit = raw_image(777, key=b"k" * 2 * BIG)
    records = [raw_image(offset) for offset in range(5000)]
    desk.answer(*records[:777], culprit, *records[778:])
    desk.settle()
    assert not desk.failures
    assert (desk.answers(), list(desk.letters())) == (4999, [777])
    assert desk.committed == {0: 5000}
    assert broker.aborts < 40
