"""Exactly once: the transactions of one producer, and the calls that they are made of."""

import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from bridge.images import Publication
from bridge.kafka.assignment import Completed
from bridge.kafka.produce import REFUSALS, produce

log = structlog.get_logger()

CALL_AGAIN_S = 0.2
"""Wait in seconds before a call that can be resumed is repeated."""
FOR_GOOD = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
)
"""Errors that do not pass by themselves: the bridge stops and reports them, as at least once."""
HUNG_FACTOR = 2
"""Factor of the bound on calls to the transaction coordinator after which a call is taken to be
hung: librdkafka can lose a request when the broker goes away in the middle of it."""


class FencedError(Exception):
    """The bridge is fenced: another one has taken over, or the broker gave a transaction up.

    Only the broker knows whether the last transaction counts: start again from what is committed.
    """


class Transactions:
    """Makes transactions, all on one thread; `check` is for any other.

    Args:
        timeout_s: bound on each call to the transaction coordinator, in seconds.
        offset_metadata: text that Kafka keeps with each committed offset.
        stopping: once it is set, no call is repeated.

    Attributes:
        problem: why transactions do not work now; None when they do.
        refusal: the class of the error with which Kafka refused a record of the last transaction.
        for_good: the error of one of its records that does not pass by itself.
        undelivered: whether one of its records was not delivered in time.
    """

    def __init__(
        self, producer: Producer, *, timeout_s: float, offset_metadata: str, stopping: Event
    ) -> None:
        self._producer = producer
        self._timeout_s = timeout_s
        self._offset_metadata = offset_metadata
        self._stopping = stopping
        self._calling_since: float | None = None
        self.problem: str | None = "transactions have not started yet"
        self.refusal: str | None = None
        self.for_good: str | None = None
        self.undelivered = False

    @property
    def calling(self) -> bool:
        """Whether a call has not returned yet."""
        return self._calling_since is not None

    def check(self) -> None:
        """Check for a hung call.

        Raises:
            FencedError: the client hangs and has to be replaced.
        """
        since = self._calling_since
        if since is not None and time.monotonic() - since > HUNG_FACTOR * self._timeout_s:
            raise FencedError(
                f"Kafka's client does not return from a call on the transaction coordinator, "
                f"which was bounded to {self._timeout_s:.0f} s"
            )

    def start(self) -> None:
        """Prepare for transactions: Kafka ends those that an earlier producer of this id left."""
        self._call(self._producer.init_transactions)
        self.problem = None

    def commit(self, completed: Sequence[Completed[Publication]], generation: Any) -> None:
        """Publish outcomes and commit their offsets, in one transaction.

        Args:
            generation: the group's metadata from when the outcomes were taken.

        Raises:
            KafkaException: the transaction failed; `refusal` and `for_good` say more.
            DeliveryError: Kafka's client takes an outcome in no form.
            FuseBlownError: there are too many dead letters.
            FencedError: this producer cannot go on.
        """
        self.refusal = self.for_good = None
        self.undelivered = False
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
            lambda: self._producer.send_offsets_to_transaction(offsets, generation, self._timeout_s)
        )
        if not all_taken:
            raise FencedError("Kafka's client takes no more records, and does not say why")
        self._call(lambda: self._producer.commit_transaction(self._timeout_s))

    def abort(self) -> None:
        """Abort the open transaction.

        Raises:
            KafkaException: it cannot be aborted, or none is open.
        """
        self._call(lambda: self._producer.abort_transaction(self._timeout_s))

    def abort_failed(self, reason: KafkaError) -> None:
        """Abort the transaction that failed for this reason, so that another can begin.

        Raises:
            FencedError: this producer cannot go on.
        """
        if reason.fatal() or not reason.txn_requires_abort():
            raise FencedError(f"{reason.name()}: {reason.str()}") from None
        try:
            self.abort()
        except KafkaException as second:
            raise FencedError(f"could not abort: {second.args[0].str()}") from None

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        """Note that a record of the open transaction was delivered, or not."""
        if error is None:
            return
        refusal = REFUSALS.get(error.code())
        if refusal is not None:
            self.refusal = refusal
        elif error.code() in FOR_GOOD:
            self.for_good = error.str()
        elif error.code() == KafkaError._MSG_TIMED_OUT:
            self.undelivered = True

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
            self._stopping.wait(CALL_AGAIN_S)
