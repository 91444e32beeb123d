"""Publishes the outcome of each image, and commits its offset only once the outcome is safe."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Event, Lock, RLock, Thread
from typing import NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from bridge.fuse import FuseBlownError
from bridge.images import Publication, ReceivedRecord
from bridge.kafka.assignment import Assignment, Completed
from bridge.kafka.delivery import DeliveryError, Settled
from bridge.kafka.produce import REFUSALS, instead, produce
from bridge.metrics import Metrics

log = structlog.get_logger()


REPORTS_S = 0.02
"""Seconds between two looks for acknowledgements while no batch comes that brings them along."""
FLUSH_S = 0.01
"""Bound on the flush of a single image, in seconds: if many images follow, they are sent in large
requests again."""


class AtLeastOnce:
    """Publishes each outcome on its own and at once; offsets follow the acknowledgements.

    Args:
        failed: called, on any thread, with the error that makes it impossible to go on.
        metadata: text that Kafka keeps with each committed offset.
    """

    problem: str | None = None
    """Always None: refused commits are reported as a problem of the group."""

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
        self._refused: deque[_Refused] = deque()
        self._sending = Lock()
        """Held by the thread that hands records to the client. A record that was refused is sent
        again with no other beside it, so that the result is about that record alone."""
        self._matching = RLock()
        """Held while reports are matched with records, and while records that were sent are being
        noted. Reports come on whichever thread calls the client."""
        self._stopping = Event()
        self._lone = Event()
        self._idle = Thread(target=self._serve_idle, name="delivery", daemon=True)

    def start(self) -> None:
        self._idle.start()

    def publish(self, settled: Sequence[Settled]) -> None:
        with self._sending:
            self._send(settled)
        self._serve_reports()  # those of earlier batches

    def skip(self, settled: Sequence[Settled]) -> None:
        self._assignment.finish(
            (arrival.tracker, arrival.key, publication) for arrival, publication in settled
        )

    def _send(self, settled: Sequence[Settled], *, alone: bool = False) -> None:
        if not settled:
            return
        # One callback for each batch: one for each image would cost as much as producing it.
        sent = _Sent(list(settled), [True] + [False] * (len(settled) - 1), alone)
        on_delivery = partial(self._delivered, sent)
        with self._matching:
            for place, (arrival, publication) in enumerate(settled):
                try:
                    produced = produce(self._producer, publication, on_delivery)
                except Exception:
                    # The records before it are on their way, and count once they are delivered.
                    self._withdraw(sent, settled[place:])
                    raise
                if produced is not publication:
                    self._replaced(sent, arrival, produced)
        if len(settled) == 1:
            self._lone.set()

    def _replaced(self, sent: "_Sent", arrival: ReceivedRecord, produced: Publication) -> None:
        """Note that the client took another record for an image than it was given."""
        for place, (other, _) in enumerate(sent.settled):
            if other is arrival:
                sent.settled[place] = (arrival, produced)

    def _withdraw(self, sent: "_Sent", unsent: Sequence[Settled]) -> None:
        """Forget records that the client never got."""
        gone = {id(arrival) for arrival, _ in unsent}
        sent.settled[:] = [one for one in sent.settled if id(one[0]) not in gone]
        for _ in unsent:
            self._reported(sent)

    def _reported(self, sent: "_Sent") -> None:
        """Count one report that has come, on any thread."""
        # The pop of a list is one step, so that one thread alone gets the last item, and only that
        # one needs the lock.
        if sent.waiting.pop():
            with self._matching:
                if sent.settled:
                    self._acknowledged.append(sent.settled)

    def _delivered(self, sent: "_Sent", error: KafkaError | None, message: Message) -> None:
        """Note that a record of `sent` was delivered, or not."""
        if error is None:
            self._reported(sent)
            return
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return  # the bridge is being stopped at once: not delivered, so not committed
        refusal = REFUSALS.get(error.code())
        with self._matching:
            place = None if refusal is None else _place(sent.settled, message)
            refused = None if place is None else sent.settled.pop(place)
        if refusal is None or refused is None:
            self._failed(
                DeliveryError(f"Kafka refused a record for topic {message.topic()}: {error.str()}")
            )
            return
        self._refused.append(_Refused(refused, refusal, sent.alone))
        self._reported(sent)

    def _serve_reports(self) -> None:
        self._producer.poll(0)
        # All at once, under one lock; another thread may take some of them at the same time.
        reported: list[Sequence[Settled]] = []
        with suppress(IndexError):
            while True:
                reported.append(self._acknowledged.popleft())
        self._assignment.finish(
            (arrival.tracker, arrival.key, publication)
            for settled in reported
            for arrival, publication in settled
        )

    def _serve_idle(self) -> None:
        try:
            while not self._stopping.is_set():
                if self._lone.wait(REPORTS_S):
                    self._lone.clear()
                    # During a flush, Kafka's client does not wait for more records to send along
                    # (linger.ms, which its whole-millisecond timers turn into two or three); no
                    # more will come.
                    self._producer.flush(FLUSH_S)
                self._serve_reports()
                if self._refused:
                    self._send_refused()
        except Exception as error:
            self._failed(error)

    def _send_refused(self) -> None:
        """Send each refused record again by itself; if it is refused again, send less of it.

        A broker judges the records of one request and partition together: most of those that it
        refuses as too large are fine by themselves.
        """
        with self._sending:
            while self._refused and not self._stopping.is_set():
                (arrival, publication), refusal, alone = self._refused.popleft()
                if alone:
                    try:
                        publication = instead(publication, refusal)
                    except FuseBlownError as error:
                        self._failed(error)  # this image stays uncommitted; reports still come
                        continue
                if self._flush():
                    self._send([(arrival, publication)], alone=True)
                    self._flush()

    def _flush(self) -> bool:
        """Wait until no record is with the client; False: the bridge was stopped before that."""
        while self._producer.flush(REPORTS_S):
            if self._stopping.is_set():
                return False
        return True

    def flush(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._producer.flush(REPORTS_S) or self._refused:
            if self._stopping.is_set() or time.monotonic() > deadline:
                break
        self._serve_reports()

    def commit(self, *, wait: bool) -> None:
        # Only this thread, the intake's, changes the assignment: no partition can be revoked
        # between `take_completed` and the commit, and the pipeline need not wait for either.
        if self._pending and not wait:
            return
        with self._assignment.changed:
            completed = self._assignment.take_completed()
        if not completed:
            return
        offsets = [
            TopicPartition(one.tracker.topic, one.tracker.partition, one.offset, self._metadata)
            for one in completed
        ]
        try:
            if not wait:
                # Waiting would stop everything for the seconds that a rebalance takes: no commit is
                # answered until it is over.
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


class _Sent(NamedTuple):
    """Records that were handed to the client together.

    Attributes:
        settled: the records that were not refused.
        waiting: one item for each record without a report; the first one, which is taken last, is
            True.
        alone: whether this is one record, and no other was with the client at the same time.
    """

    settled: list[Settled]
    waiting: list[bool]
    alone: bool


class _Refused(NamedTuple):
    """A record that the broker refused for what it is, or for what was beside it."""

    settled: Settled
    refusal: str
    alone: bool


def _place(settled: Sequence[Settled], message: Message) -> int | None:
    """Index of this message's record; records that are equal in all of this are refused alike."""
    found = (message.topic(), message.key(), message.value())
    for place, (_, one) in enumerate(settled):
        if (one.topic, one.record.key, one.record.value) == found:
            return place
    return None
