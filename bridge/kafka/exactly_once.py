"""Exactly once: predictions, dead letters and offsets become visible together or not at all."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from bridge.backoff import Backoff
from bridge.fuse import FuseBlownError
from bridge.images import Publication
from bridge.kafka.assignment import Assignment, Completed
from bridge.kafka.delivery import DeliveryError, Settled
from bridge.kafka.produce import REFUSALS, instead, produce
from bridge.kafka.transaction_size import TransactionSize, split
from bridge.metrics import Metrics

log = structlog.get_logger()

IDLE_WAIT_S = 0.2
PACE = 3.0
"""Factor by which the pause after a transaction is longer than that transaction took, while images
come in: a transaction costs the broker as much as about 200 images (measured: 4 ms of CPU)."""
BACKLOG = 256
"""Unfinished images in flight from which on transactions are `LONGEST_PAUSE_S` apart: each image
then waits for longer than that anyway."""
LONGEST_PAUSE_S = 0.2
"""Longest pause between two transactions in seconds."""
FOR_GOOD = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
)
"""Errors that do not pass by themselves: the bridge stops and reports them, as at least once."""
ABORTS = 2
"""Aborts in a row that a rebalance can explain; after more, transactions do not work."""
HUNG_FACTOR = 2
"""Factor of the bound on calls to the transaction coordinator after which a call is taken to be
hung: librdkafka can lose a request when the broker goes away in the middle of it."""


class FencedError(Exception):
    """The bridge is fenced: another one has taken over, or the broker gave a transaction up.

    Only the broker knows whether the last transaction counts: start again from what is committed.
    """


class ExactlyOnce:
    """Publishes the completed prefix of every partition, one transaction after another.

    A thread of its own commits, so that images are decoded and answered meanwhile; their outcomes
    go into the next transaction. A transaction carries the group's generation from the moment when
    its outcomes were taken. After a rebalance the broker refuses it, and the images that are still
    this bridge's go into another transaction.

    Args:
        timeout_s: bound on each call to the transaction coordinator, in seconds.
        failed: called with the error that makes it impossible to go on.
        metadata: text that Kafka keeps with each committed offset.
        monotonic: returns seconds, for the pause between two transactions.
    """

    def __init__(
        self,
        consumer: Consumer,
        producer: Producer,
        assignment: Assignment[Publication],
        metrics: Metrics,
        failed: Callable[[Exception], None],
        *,
        timeout_s: float,
        backoff: Backoff,
        metadata: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._offset_metadata = metadata
        self._monotonic = monotonic
        self.problem: str | None = "transactions have not started yet"
        self._consumer = consumer
        self._producer = producer
        self._assignment = assignment
        self._metrics = metrics
        self._failed = failed
        self._timeout_s = timeout_s
        self._backoff = backoff
        self._size = TransactionSize()
        self._refusal: str | None = None
        self._for_good: str | None = None
        self._metadata: Any = None
        self._ended = -LONGEST_PAUSE_S
        self._took = 0.0
        """`_ended`: monotonic seconds when the last transaction ended; `_took`: its duration in
        seconds."""
        self._settling = False
        """Whether outcomes were taken that are neither committed nor dropped."""
        self._calling_since: float | None = None
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="transactions", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def publish(self, settled: Sequence[Settled]) -> None:
        self._assignment.ready(
            (arrival.tracker, arrival.key, publication) for arrival, publication in settled
        )

    def skip(self, settled: Sequence[Settled]) -> None:
        self.publish(settled)  # keeps the order; nothing is published for these

    def flush(self, timeout_s: float) -> None:
        with self._assignment.changed:
            self._assignment.changed.wait_for(
                lambda: (
                    not (self._settling or self._assignment.has_completed())
                    or not self._thread.is_alive()
                ),
                timeout_s,
            )

    def commit(self, *, wait: bool) -> None:  # noqa: ARG002 - what waits is draining
        """Only check for a hung call: images stay in flight until their transaction is committed.

        Raises:
            FencedError: the client hangs and has to be replaced.
        """
        since = self._calling_since
        if since is not None and time.monotonic() - since > HUNG_FACTOR * self._timeout_s:
            raise FencedError(
                f"Kafka's client does not return from a call on the transaction coordinator, "
                f"which was bounded to {self._timeout_s:.0f} s"
            )

    def committed(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        """Never called: offsets are committed by the producer."""

    def generation_changed(self) -> None:
        metadata = self._consumer.consumer_group_metadata()
        # If the group has removed this member meanwhile, metadata without a member would be
        # committed unchecked. So the old metadata stays, which the broker refuses.
        if self._consumer.memberid():
            with self._assignment.changed:
                self._metadata = metadata
                self._assignment.changed.notify_all()

    def close(self, *, flush: bool) -> None:
        self._stopping.set()
        with self._assignment.changed:
            self._assignment.changed.notify_all()
        if not flush:
            self._producer.purge()
        if self._calling_since is None or flush:
            self._thread.join(self._timeout_s)

    def _run(self) -> None:
        try:
            self._call(self._producer.init_transactions)
            self.problem = None
            while not self._stopping.is_set():
                self._producer.poll(0)  # otherwise the client's reports would pile up
                with self._assignment.changed:
                    wait_s = self._pause_left() or IDLE_WAIT_S
                    if not self._assignment.changed.wait_for(self._has_work, wait_s):
                        continue
                    if self._stopping.is_set():
                        break
                    completed = self._assignment.take_completed()
                    metadata = self._metadata
                    self._settling = True
                began = self._monotonic()
                self._settle(completed, metadata)
                self._ended = self._monotonic()
                self._took = self._ended - began
                with self._assignment.changed:
                    self._settling = False
                    self._assignment.changed.notify_all()
        except Exception as error:
            if not self._stopping.is_set():  # otherwise a hung call came back after the end
                self._failed(error)
        finally:
            with self._assignment.changed:
                self._settling = False
                self._assignment.changed.notify_all()

    def _has_work(self) -> bool:
        # Without a generation, outcomes that are taken could not be committed.
        return self._stopping.is_set() or (
            self._metadata is not None
            and self._assignment.has_completed()
            and not self._pause_left()
        )

    def _pause_left(self) -> float:
        """Seconds for which the next transaction still waits for unfinished images; at most
        `LONGEST_PAUSE_S`. The caller holds `changed`."""
        unfinished = self._assignment.unfinished()
        if not unfinished:
            return 0.0
        pause = LONGEST_PAUSE_S
        if unfinished < BACKLOG:
            pause = min(PACE * self._took, pause)
        return max(0.0, self._ended + pause - self._monotonic())

    def _settle(self, completed: Sequence[Completed[Publication]], metadata: Any) -> None:
        """Get these outcomes committed, or drop those that are no longer this bridge's."""
        while completed and not self._stopping.is_set():
            rest: Sequence[Completed[Publication]]
            part, rest = split(completed, self._size.limit)
            try:
                self._transact(part, metadata)
            except KafkaException as error:
                self._give_up(part, error, metadata)
                rest = completed
            except (DeliveryError, FuseBlownError):
                # An open transaction would keep its readers waiting until the broker gives it up.
                with suppress(KafkaException):
                    self._call(lambda: self._producer.abort_transaction(self._timeout_s))
                raise
            else:
                self._backoff.reset()
                self.problem = None
                self._committed(part)
                self._size.committed()
            with self._assignment.changed:
                for gone in (one for one in rest if one.tracker.revoked):
                    self._assignment.drop(gone.tracker, gone.entries)
                completed = [one for one in rest if not one.tracker.revoked]
                metadata = self._metadata

    def _give_up(
        self, part: Sequence[Completed[Publication]], error: KafkaException, metadata: Any
    ) -> None:
        """End a transaction that failed, and prepare the next one so that it can succeed.

        Raises:
            DeliveryError: no transaction can succeed, or nothing is left to publish.
            FuseBlownError: there are too many dead letters.
            FencedError: this producer cannot go on.
        """
        self._producer.poll(0)  # the reports about its records must be known first
        reason = error.args[0]
        refusal = self._refusal or REFUSALS.get(reason.code())
        for_good = self._for_good or (reason.str() if reason.code() in FOR_GOOD else None)
        if refusal is None and for_good is not None:
            raise DeliveryError(f"Kafka refuses the answers: {for_good}")
        self._abort(error)
        if refusal is not None:
            # No wait: a refusal has nothing to do with time.
            log.debug("transaction_refused", reason=refusal, error=str(error))
            for entry in self._size.refused(part, refusal):
                assert entry.result is not None
                entry.result = instead(entry.result, refusal)
            return
        if reason.code() in (KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT):
            self._size.timed_out(part)
        wait = self._backoff.next_wait()
        if self._backoff.failures > ABORTS:
            self.problem = f"transactions are aborted: {reason.str()}"
        log.warning("transaction_aborted", error=str(error), retry_in_s=round(wait, 3))
        self._wait_for_generation(metadata, wait)

    def _wait_for_generation(self, refused: Any, wait_s: float) -> None:
        """Wait for `wait_s`, or until the group's generation is known anew: often that was the
        cause."""
        with self._assignment.changed:
            self._assignment.changed.wait_for(
                lambda: self._stopping.is_set() or self._metadata is not refused, wait_s
            )

    def _transact(self, completed: Sequence[Completed[Publication]], metadata: Any) -> None:
        self._refusal = self._for_good = None
        self._producer.begin_transaction()
        all_taken = True
        try:
            for one in completed:
                for entry in one.entries:
                    assert entry.result is not None
                    if entry.result.silent:
                        continue
                    # A record that is refused at once is replaced at once, and stays replaced.
                    entry.result = produce(self._producer, entry.result, self._delivered)
        except KafkaException:
            all_taken = False  # an earlier record failed: the next call raises its error
        offsets = [
            TopicPartition(
                one.tracker.topic, one.tracker.partition, one.offset, self._offset_metadata
            )
            for one in completed
        ]
        self._call(
            lambda: self._producer.send_offsets_to_transaction(offsets, metadata, self._timeout_s)
        )
        if not all_taken:
            raise FencedError("Kafka's client takes no more records, and does not say why")
        self._call(lambda: self._producer.commit_transaction(self._timeout_s))

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        """Note that a record of the open transaction was delivered, or not."""
        if error is None:
            return
        refusal = REFUSALS.get(error.code())
        if refusal is not None:
            self._refusal = refusal
        elif error.code() in FOR_GOOD:
            self._for_good = error.str()

    def _committed(self, completed: Sequence[Completed[Publication]]) -> None:
        with self._assignment.changed:
            for one in completed:
                one.tracker.mark_committed(one.offset)
                self._assignment.release(one.tracker, one.entries)
        self._metrics.commits.labels("ok").inc()

    def _abort(self, error: KafkaException) -> None:
        """Abort the failed transaction so that another can begin.

        Raises:
            FencedError: this producer cannot go on.
        """
        self._metrics.commits.labels("failed").inc()
        reason = error.args[0]
        if reason.fatal() or not reason.txn_requires_abort():
            raise FencedError(f"{reason.name()}: {reason.str()}") from None
        try:
            self._call(lambda: self._producer.abort_transaction(self._timeout_s))
        except KafkaException as second:
            raise FencedError(f"could not abort: {second.args[0].str()}") from None

    def _call(self, call: Callable[[], None]) -> None:
        """Repeat a transaction call that can be resumed, until it has ended."""
        while True:
            self._calling_since = time.monotonic()
            try:
                return call()
            except KafkaException as error:
                if not error.args[0].retriable() or self._stopping.is_set():
                    raise
                self.problem = f"a transaction waits: {error.args[0].str()}"
                log.warning("transaction_waits", error=error.args[0].str())
            finally:
                self._calling_since = None
            self._stopping.wait(0.2)
