"""Exactly once: predictions, dead letters and offsets become visible together or not at all."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from bridge.backoff import Backoff
from bridge.fuse import FuseBlownError
from bridge.images import Publication
from bridge.kafka.assignment import Assignment, Completed
from bridge.kafka.delivery import DeliveryError, Settled
from bridge.kafka.pace import Pace
from bridge.kafka.produce import REFUSALS, instead
from bridge.kafka.transaction_size import TransactionSize, split
from bridge.kafka.transactions import FOR_GOOD, FencedError, Transactions
from bridge.metrics import Metrics

log = structlog.get_logger()

IDLE_WAIT_S = 0.2
ABORTS = 2
"""Aborts in a row that a rebalance can explain; after more, transactions do not work."""
UNDELIVERED = 2
"""Transactions in a row whose records were not delivered in time, after which the client is
replaced. When one of three brokers had been killed, librdkafka 2.16 sometimes kept the records of
its partitions for ever, though they had another leader; a new client delivered them at once."""


class ExactlyOnce:
    """Publishes the completed prefix of every partition, one transaction after another.

    A thread of its own commits, so that images are decoded and answered meanwhile; their outcomes
    go into the next transaction. A transaction carries the group's generation from the moment when
    its outcomes were taken. After a rebalance the broker refuses it, and the images that are still
    this bridge's go into another transaction.

    Args:
        timeout_s: bound on each call to the transaction coordinator, in seconds.
        failed: called with the error that makes it impossible to go on.
        size: how many images go into a transaction; given to the next one after this, so that what
            a slow network takes is found although the client is replaced meanwhile.
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
        size: TransactionSize,
        metadata: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._assignment = assignment
        self._metrics = metrics
        self._failed = failed
        self._timeout_s = timeout_s
        self._backoff = backoff
        self._pace = Pace(monotonic)
        self._size = size
        self._metadata: Any = None
        self._settling = False
        """Whether outcomes were taken that are neither committed nor dropped."""
        self._undelivered = 0
        """Transactions in a row with records that were not delivered in time."""
        self._stopping = Event()
        self._transactions = Transactions(
            producer, timeout_s=timeout_s, offset_metadata=metadata, stopping=self._stopping
        )
        self._thread = Thread(target=self._run, name="transactions", daemon=True)

    @property
    def problem(self) -> str | None:
        return self._transactions.problem

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
        self._transactions.check()

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
        if flush or not self._transactions.calling:
            self._thread.join(self._timeout_s)

    def _run(self) -> None:
        try:
            self._transactions.start()
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
                self._pace.began()
                self._settle(completed, metadata)
                self._pace.ended()
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
        """Seconds for which the next transaction waits; the caller holds `changed`."""
        return self._pace.left(self._assignment.unfinished())

    def _settle(self, completed: Sequence[Completed[Publication]], metadata: Any) -> None:
        """Get these outcomes committed, or drop those that are no longer this bridge's."""
        while completed and not self._stopping.is_set():
            rest: Sequence[Completed[Publication]]
            part, rest = split(completed, self._size.limit)
            try:
                self._transactions.commit(part, metadata)
            except KafkaException as error:
                self._give_up(part, error, metadata)
                rest = completed
            except (DeliveryError, FuseBlownError):
                # An open transaction would keep its readers waiting until the broker gives it up.
                with suppress(KafkaException):
                    self._transactions.abort()
                raise
            else:
                self._backoff.reset()
                self._undelivered = 0
                self._transactions.problem = None
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
        reason, failed = error.args[0], self._transactions
        refusal = failed.refusal or REFUSALS.get(reason.code())
        for_good = failed.for_good or (reason.str() if reason.code() in FOR_GOOD else None)
        if refusal is None and for_good is not None:
            raise DeliveryError(f"Kafka refuses the answers: {for_good}")
        self._metrics.commits.labels("failed").inc()
        failed.abort_failed(reason)
        slow = reason.code() in (KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT)
        if refusal is None and (slow or failed.undelivered):
            self._size.timed_out(part)
        self._undelivered = self._undelivered + 1 if failed.undelivered else 0
        if self._undelivered >= UNDELIVERED:
            raise FencedError(
                f"Kafka's client did not deliver records in {self._timeout_s:.0f} s, "
                f"{UNDELIVERED} times in a row, though the broker ends its transactions"
            )
        if refusal is not None:
            # No wait: a refusal has nothing to do with time.
            log.debug("transaction_refused", reason=refusal, error=str(error))
            for entry in self._size.refused(part, refusal):
                assert entry.result is not None
                entry.result = instead(entry.result, refusal)
            return
        wait = self._backoff.next_wait()
        if self._backoff.failures > ABORTS:
            failed.problem = f"transactions are aborted: {reason.str()}"
        log.warning("transaction_aborted", error=str(error), retry_in_s=round(wait, 3))
        self._wait_for_generation(metadata, wait)

    def _wait_for_generation(self, refused: Any, wait_s: float) -> None:
        """Wait for `wait_s`, or until the group's generation is known anew: often that was the
        cause."""
        with self._assignment.changed:
            self._assignment.changed.wait_for(
                lambda: self._stopping.is_set() or self._metadata is not refused, wait_s
            )

    def _committed(self, completed: Sequence[Completed[Publication]]) -> None:
        with self._assignment.changed:
            for one in completed:
                one.tracker.mark_committed(one.offset)
                self._assignment.release(one.tracker, one.entries)
        self._metrics.commits.labels("ok").inc()
