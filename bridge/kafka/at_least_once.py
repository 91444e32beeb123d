"""Publishing what became of an image, and committing its offset only after that is safe."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from typing import Protocol

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from bridge.kafka.assignment import Assignment, Completed
from bridge.metrics import Metrics
from bridge.work import Arrival, Publication
from wire.deadletter import without_value
from wire.record import raw_bytes

log = structlog.get_logger()


Settled = tuple[Arrival, Publication]
"""An image, and what it became."""


REPORTS_S = 0.02
"""How often acknowledgements are looked for while no batch comes that brings them along."""
FLUSH_S = 0.01
"""Bound on a lone image's flush: should many follow, they are sent in large requests again."""


class DeliveryError(Exception):
    """Kafka refused a record for good; the bridge stops, and commits nothing past it."""


class Delivery(Protocol):
    """How answers reach Kafka. `publish` is called by the pipeline, the rest by the intake."""

    def start(self) -> None: ...

    def publish(self, settled: Sequence[Settled]) -> None:
        """Take charge of images' answers or dead letters; may block while Kafka is slow."""
        ...

    def commit(self, *, wait: bool) -> None:
        """Commit each partition's completed prefix; with `wait`, until the broker has it."""
        ...

    def committed(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        """What became of a commit that was not waited for; called on the intake's thread."""
        ...

    def generation_changed(self) -> None:
        """The group has rebalanced: what identified this member to the group is out of date."""
        ...

    @property
    def problem(self) -> str | None:
        """Why answers cannot be published or committed just now; None when they can."""
        ...

    def close(self, *, flush: bool) -> None: ...


class AtLeastOnce:
    """Each answer on its own, as soon as it is there; offsets follow the acknowledgements.

    Args:
        failed: called, on any thread, with what makes it impossible to go on.
        metadata: kept by Kafka with each committed offset.
    """

    problem: str | None = None
    """Commits that are refused are the group's to tell."""

    def __init__(
        self,
        consumer: Consumer,
        producer: Producer,
        assignment: Assignment[Publication],
        metrics: Metrics,
        failed: Callable[[Exception], None],
        metadata: str = "",
    ) -> None:
        self._metadata = metadata
        self._consumer = consumer
        self._producer = producer
        self._assignment = assignment
        self._metrics = metrics
        self._failed = failed
        self._pending: list[Completed[Publication]] = []
        self._acknowledged: deque[Sequence[Settled]] = deque()
        self._stopping = Event()
        self._lone = Event()
        self._idle = Thread(target=self._serve_idle, name="delivery", daemon=True)

    def start(self) -> None:
        self._idle.start()

    def publish(self, settled: Sequence[Settled]) -> None:
        self._send(settled)
        self._serve_reports()  # of earlier batches

    def _send(self, settled: Sequence[Settled]) -> None:
        # One callback for all of a batch: one for each image costs as much as producing it.
        on_delivery = partial(self._delivered, settled, list(settled))
        for _, publication in settled:
            produce(self._producer, publication, on_delivery)
        if len(settled) == 1:
            self._lone.set()

    def _delivered(
        self,
        settled: Sequence[Settled],
        waiting: list[Settled],
        error: KafkaError | None,
        message: Message,
    ) -> None:
        """One of `settled` was delivered, or not; `waiting` has one item for each that was not."""
        if error is None:
            # Reports come on two threads: a list's pop is one step, a count's decrement is not.
            waiting.pop()
            if not waiting:
                self._acknowledged.append(settled)
            return
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and len(settled) == 1:
            arrival, publication = settled[0]  # a dead letter, which always comes alone
            smaller = shrink(publication)
            if smaller is not None:
                self._send([(arrival, smaller)])
                return
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return  # the bridge is being stopped at once: not delivered, so not committed
        self._failed(
            DeliveryError(f"Kafka refused a record for topic {message.topic()}: {error.str()}")
        )

    def _serve_reports(self) -> None:
        self._producer.poll(0)
        # All at once, under one lock.
        reported = [self._acknowledged.popleft() for _ in range(len(self._acknowledged))]
        self._assignment.finish(
            (arrival.tracker, arrival.offset) for settled in reported for arrival, _ in settled
        )

    def _serve_idle(self) -> None:
        while not self._stopping.is_set():
            if self._lone.wait(REPORTS_S):
                self._lone.clear()
                # Flushing, Kafka's client does not wait for more records to send along (linger.ms,
                # which timers of whole milliseconds make two or three): none will come.
                self._producer.flush(FLUSH_S)
            self._serve_reports()

    def commit(self, *, wait: bool) -> None:
        # Only this thread, the intake's, changes the assignment: nothing can be revoked between
        # the look at what is completed and the commit, and the pipeline need not wait for either.
        if self._pending and not wait:
            return
        with self._assignment.changed:
            completed = self._assignment.completed()
        if not completed:
            return
        offsets = [
            TopicPartition(one.tracker.topic, one.tracker.partition, one.offset, self._metadata)
            for one in completed
        ]
        try:
            if not wait:
                # Waiting would stop everything for the seconds that a rebalance takes: until it is
                # over, no commit is answered.
                self._consumer.commit(offsets=offsets, asynchronous=True)
                self._pending = completed
                return
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            self._commit_failed(error, will_retry=not wait)
            return
        self._mark(completed)

    def committed(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        completed, self._pending = self._pending, []
        problem = error or next((one.error for one in partitions if one.error is not None), None)
        if problem is not None:
            self._commit_failed(problem, will_retry=True)
        else:
            self._mark(completed)

    def _commit_failed(self, error: object, *, will_retry: bool) -> None:
        self._metrics.commits.labels("failed").inc()
        log.warning("commit_failed", error=str(error), will_retry=will_retry)

    def _mark(self, completed: Sequence[Completed[Publication]]) -> None:
        for one in completed:
            one.tracker.mark_committed(one.offset)
        self._metrics.commits.labels("ok").inc()

    def generation_changed(self) -> None:
        pass

    def close(self, *, flush: bool) -> None:
        if flush:
            self._producer.flush(10)
        else:
            self._producer.purge()
        self._stopping.set()
        self._idle.join(5)


def produce(
    producer: Producer,
    publication: Publication,
    on_delivery: Callable[[KafkaError | None, Message], None],
) -> None:
    """Hand a record to the client, waiting while its queue is full.

    Raises:
        DeliveryError: the client will never take it.
    """
    while True:
        record = publication.record
        try:
            producer.produce(
                publication.topic,
                value=record.value,
                key=record.key,
                headers=record.headers,  # type: ignore[arg-type]  # a list is invariant
                on_delivery=on_delivery,
            )
            return
        except BufferError:
            producer.poll(0.1)  # full until the broker takes some; delivery reports make room
        except KafkaException as error:
            smaller = shrink(publication)
            if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE or smaller is None:
                raise DeliveryError(f"topic {publication.topic}: {error}") from None
            publication = smaller


def shrink(publication: Publication) -> Publication | None:
    """A record that the broker finds too large, without its value but with its reason.

    The reason's headers can push a dead letter over the limit that the image itself just met.
    """
    record = without_value(publication.record)
    if record is None:
        return None
    log.warning(
        "dead_letter_without_value",
        topic=publication.topic,
        key=repr(raw_bytes(publication.record.key)[:64]),
        size=len(raw_bytes(publication.record.value)),
    )
    return Publication(publication.topic, record)
