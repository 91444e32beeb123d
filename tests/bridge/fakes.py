"""Stand-ins for Kafka's client and for Triton, behind the same protocols; time is the test's."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from bridge.batching import Batcher
from bridge.freshness import Freshness
from bridge.fuse import Fuse
from bridge.images import NOTHING, DecodedImage, Publication, ReceivedRecord
from bridge.inference import Answer, Checked, Done, InferenceError
from bridge.kafka.assignment import Assignment
from bridge.kafka.delivery import Settled
from bridge.kafka.offsets import Key
from bridge.metrics import Metrics
from bridge.outlet import Outlet
from bridge.pipeline import Pipeline
from bridge.predicting import Predictions
from bridge.reading import ImageReader
from bridge.references.fetcher import Fetcher
from bridge.references.finding import References
from bridge.references.schedule import Schedule
from bridge.routing import Routes
from imaging.rules import ImageRules, Input, Preprocess, Size
from storage.allowed import parse_allow_list
from storage.objects import ObjectStorage
from wire.image import NDARRAY
from wire.record import Outgoing, StoredRecord

SHAPE = (2, 2, 3)
PIXELS = bytes(12)
RULES = ImageRules(SHAPE, Preprocess(), 1 << 20, 1 << 20)
MAX_BATCH = 8
NOW_NS = 1_700_000_000_000_000_000

Result = Answer | InferenceError | Exception


def raw_image(offset: int, *headers: tuple[str, bytes | None], key: bytes | None = None) -> Any:
    """A record of raw pixels, which needs no decoder."""
    form = [("content-type", NDARRAY.encode()), ("ce_dtype", b"uint8"), ("ce_shape", b"2,2,3")]
    return StoredRecord("images", 0, offset, key, PIXELS, [*form, *headers], NOW_NS // 1_000_000)


def good(images: Sequence[Input]) -> Answer:
    """One class for each image."""
    return Answer("1", [({"label": "cat", "class_id": 3, "score": 0.5},) for _ in images])


@dataclass
class Model:
    """Answers at once, as `answer` says; an exception that it gives is raised."""

    answer: Callable[[Sequence[Input]], Result] = good
    asked: list[int] = field(default_factory=list)
    ready: Callable[[], bool] = lambda: True

    def infer(
        self,
        images: Sequence[Input],
        done: Done,
        _traceparent: str | None = None,
        _sizes: Sequence[Size | None] = (),
    ) -> None:
        self.asked.append(len(images))
        result = self.answer(images)
        if isinstance(result, Answer | InferenceError):
            done(result)
        else:
            raise result

    def check(self, done: Checked) -> None:
        done(None if self.ready() else InferenceError("UNAVAILABLE", "away"))


class Kept:
    """A delivery that keeps what it is given, and calls it safe at once."""

    def __init__(self, assignment: Assignment[Publication]) -> None:
        self.assignment = assignment
        self.settled: list[Settled] = []

    def publish(self, settled: Sequence[Settled]) -> None:
        self.settled += settled
        self.assignment.finish(
            (arrival.tracker, arrival.key, publication) for arrival, publication in settled
        )

    def skip(self, settled: Sequence[Settled]) -> None:
        self.publish(settled)


class Bench:
    """A pipeline without servers; `run` turns its loop until nothing is left to do.

    Args:
        outlet: settings of the outlet's.
        reader: settings of the reader's.
        freshness: how old an image may be.

    Attributes:
        now: what the clock says; epoch nanoseconds.
    """

    def __init__(
        self,
        model: Model,
        *,
        fuse: Fuse | None = None,
        tracing: Any = None,
        predictions: Mapping[str, Any] | None = None,
        reader: Mapping[str, Any] | None = None,
        freshness: Freshness | None = None,
        storage: ObjectStorage | None = None,
        allow: str = "",
        field: str = "",
        max_bytes: int = 1 << 20,
        rules: ImageRules = RULES,
    ) -> None:
        fresh = freshness or Freshness()
        reader_options = reader or {}
        self.model = model
        self.now = NOW_NS
        self.metrics = Metrics()
        self.assignment: Assignment[Publication] = Assignment(self.metrics.images)
        self.assignment.assign([("images", 0)])
        self.delivery = Kept(self.assignment)
        self.failures: list[Exception] = []
        self.seconds = 0.0
        made_outlet = Outlet(
            predictions=Predictions(
                model="net", source="bridge", tracing=tracing, clock_ns=self.now_ns,
                **{"routes": Routes("predictions"), **(predictions or {})},
            ),
            dead_letters_topic="dlq", delivery=self.delivery, assignment=self.assignment,  # type: ignore[arg-type]
            fuse=fuse or Fuse(0, 0, 100), metrics=self.metrics, tracing=tracing,
            clock_ns=self.now_ns, freshness=fresh,
        )  # fmt: skip
        self.fetcher: Fetcher | None = None
        if storage is not None:
            self.fetcher = Fetcher(
                lambda: storage,
                schedule=Schedule(
                    retry_min_s=0.001, retry_max_s=0.002, max_failures=3, max_object=1 << 16,
                    rng=lambda: 1.0,
                ),
                assignment=self.assignment, metrics=self.metrics, max_bytes=max_bytes,
                max_object=1 << 16, failed=self.failures.append,
            )  # fmt: skip
        references = References(
            parse_allow_list(allow), field, made_outlet, self.assignment,
            None if self.fetcher is None else self.fetcher.fetch, len(PIXELS),
        )  # fmt: skip
        made_reader = ImageReader(
            rules=rules, decoders=0, outlet=made_outlet, references=references,
            metrics=self.metrics, tracing=tracing,
            clock_ns=self.now_ns, freshness=fresh, **reader_options,
        )  # fmt: skip
        self.batcher: Batcher[DecodedImage] = Batcher(MAX_BATCH, 1, rng=lambda: 1.0)
        self.pipeline = Pipeline(
            model="net", reader=made_reader, inference=model, batcher=self.batcher,
            outlet=made_outlet, freshness=fresh,
            max_attempts=3, metrics=self.metrics, failed=self.failures.append, tracing=tracing,
            clock_ns=self.now_ns, monotonic=lambda: self.seconds,
        )  # fmt: skip

    def now_ns(self) -> int:
        return self.now

    def take(self, records: Sequence[StoredRecord]) -> None:
        places = [(r.topic(), r.partition(), r.offset(), r.size) for r in records]
        trackers = self.assignment.begin(places)
        self.pipeline.submit(
            [
                ReceivedRecord(record, tracker, record.offset(), NOW_NS)
                for record, tracker in zip(records, trackers, strict=True)
                if tracker is not None
            ]
        )

    def run(self, *records: StoredRecord) -> None:
        """Everything about these records, on threads of the pipeline's own."""
        self.take(records)
        self.pipeline.start()
        if self.fetcher is not None:
            self.fetcher.start(self.pipeline.fetched)
        while self.assignment.images and not self.failures:
            self.seconds += 10  # whatever is waited for is over by then
            with self.assignment.changed:
                self.assignment.changed.wait(0.01)
        self.pipeline.stop()
        if self.fetcher is not None:
            self.fetcher.stop()

    def outcomes(self) -> dict[Key, str]:
        """The outcome of each offset: its topic, or stage/class of the dead letter."""
        found: dict[Key, str] = {}
        for arrival, publication in self.delivery.settled:
            assert arrival.key not in found, "answered twice"
            if publication is NOTHING:
                continue
            if publication.silent:
                assert publication.reason is not None
                found[arrival.key] = f"dropped {'/'.join(publication.reason)}"
                continue
            headers = dict(publication.record.headers)
            reason = b"%s/%s" % (
                headers.get("dlq.error.stage") or b"",
                headers.get("dlq.error.class") or b"",
            )
            found[arrival.key] = (
                publication.topic if publication.topic != "dlq" else reason.decode()
            )
        return found


@dataclass
class Report:
    """What a delivery report says of a record."""

    of_topic: str
    of_key: bytes | None
    of_value: bytes | None

    def topic(self) -> str:
        return self.of_topic

    def key(self) -> bytes | None:
        return self.of_key

    def value(self) -> bytes | None:
        return self.of_value


def size(record: Outgoing) -> int:
    """Bytes of a record, about as a broker counts them."""
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


class Broker:
    """A producer and its broker, which judges a request as a whole: all records that wait.

    Args:
        limits: bytes of a request, by topic.
        own_limit: bytes of a record that the client itself refuses.
        queue: bytes that the client's queue takes.
        compacted: topics that take no record without a key.
    """

    def __init__(
        self,
        limits: dict[str, int],
        own_limit: int = 1 << 30,
        queue: int = 1 << 30,
        compacted: Collection[str] = (),
    ) -> None:
        self.compacted = compacted
        self.limits = limits
        self.own_limit = own_limit
        self.queue = queue
        self.log: list[tuple[str, Outgoing]] = []
        self.waiting: list[tuple[str, Outgoing, Callable[..., None]]] = []
        self.aborts = 0
        self.offsets: dict[int, int] = {}
        self.transactional = False
        self.failing: KafkaError | None = None
        self.unreachable: KafkaError | None = None

    def produce(
        self, topic: str, *, value: Any, key: Any, headers: Any, on_delivery: Callable[..., None]
    ) -> None:
        record = Outgoing(key, value, list(headers))
        if self.transactional and self.failing is not None:
            raise KafkaException(KafkaError(KafkaError._STATE))
        if size(record) > self.own_limit:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if size(record) > self.queue:
            raise BufferError
        self.waiting.append((topic, record, on_delivery))
        if self.transactional and len(self.waiting) >= 10:
            self.flush(0)

    def __len__(self) -> int:
        return len(self.waiting)

    def poll(self, timeout_s: float) -> int:
        if timeout_s or not self.transactional:  # the client sends by itself
            self.flush(0)
        return 0

    def flush(self, _timeout_s: float) -> int:
        waiting, self.waiting = self.waiting, []
        for topic in {topic for topic, _, _ in waiting}:
            together = [one for one in waiting if one[0] == topic]
            total = sum(size(record) for _, record, _ in together)
            error = self.unreachable
            if total > self.limits.get(topic, 1 << 30):
                error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
            if topic in self.compacted and any(record.key is None for _, record, _ in together):
                error = KafkaError(KafkaError.INVALID_RECORD)
            if error is not None:
                self.failing = error
            for _, record, on_delivery in together:
                if error is None:
                    self.log.append((topic, record))
                on_delivery(error, Report(topic, record.key, record.value))
        return len(self.waiting)

    def purge(self) -> None:
        self.waiting.clear()

    def init_transactions(self) -> None:
        self.transactional = True

    def begin_transaction(self) -> None:
        self.before = len(self.log)
        self.failing = None

    def send_offsets_to_transaction(self, offsets: Any, _metadata: Any, _timeout_s: float) -> None:
        self.flush(0)
        if self.failing is not None:
            raise KafkaException(
                KafkaError(self.failing.code(), "a record failed", txn_requires_abort=True)
            )
        self.pending = {one.partition: one.offset for one in offsets}

    def commit_transaction(self, _timeout_s: float) -> None:
        self.offsets |= self.pending

    def abort_transaction(self, _timeout_s: float) -> None:
        self.aborts += 1
        del self.log[self.before :]
        self.failing = None
