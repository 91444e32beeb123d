"""Sends dead letters again: their images go back to their topics, and Kafka remembers which."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from cli.clients import explain, make_client, reason
from deadletters.reading import TIMEOUT_S, DeadLetterError
from wire.record import Outgoing, StoredRecord

MAX_MESSAGE = 64 << 20
"""Most bytes of a record; the limit that counts is the broker's."""

_REFUSALS = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD)
"""Errors about a record, or one beside it; all others are about the cluster."""


class RefusedError(DeadLetterError):
    """Kafka refuses a record for what it is; nothing was sent."""


class Resender:
    """Sends dead letters again and notes their offsets in one transaction for each chunk."""

    def __init__(self, config: Mapping[str, Any], group: str) -> None:
        self._brokers = config["bootstrap.servers"]
        self._config = {
            "message.max.bytes": MAX_MESSAGE,
            "compression.type": "lz4",
            **config,
            # One at a time: a second replay of the same selection fences the first.
            "transactional.id": group,
        }
        self._refusals: list[KafkaError] = []
        self._producer = self._begin()

    def _begin(self) -> Producer:
        """A producer; Kafka ends the transaction that the one before it has left open."""
        producer = make_client(Producer, self._config)
        try:
            producer.init_transactions(TIMEOUT_S)
        except KafkaException as error:
            why = explain(producer, self._config, error)
            raise DeadLetterError(f"cannot use Kafka at {self._brokers}: {why}") from None
        return producer

    def send(
        self,
        records: list[tuple[str, Outgoing]],
        done: list[StoredRecord],
        group: Any,
        note: str = "",
    ) -> None:
        """Send `records` (topic, record); `done` are the dead letters that were handled.

        Args:
            note: text that is kept with the offsets.

        Raises:
            RefusedError: nothing was sent, because of one of these records.
            DeadLetterError: nothing was sent.
        """
        self._refusals.clear()
        offsets: dict[tuple[str, int], int] = {}
        for letter in done:
            offsets[letter.topic(), letter.partition()] = letter.offset() + 1
        try:
            self._producer.begin_transaction()
            for topic, record in records:
                self._produce(topic, record)
            self._producer.send_offsets_to_transaction(
                [TopicPartition(*place, offset, note) for place, offset in offsets.items()],
                group,
                TIMEOUT_S,
            )
            self._producer.commit_transaction(60)
        except KafkaException as error:
            with suppress(KafkaException):  # none is open, or the client cannot go on
                self._producer.abort_transaction(TIMEOUT_S)
            self._producer.poll(0)  # the reports about these records
            self._delivered(error.args[0], None)
            if not self._refusals:
                raise DeadLetterError(reason(error)) from None
            # After a record that was refused, this client's next transactions may fail, too.
            self._producer = self._begin()
            raise RefusedError(self._refusals[0].str()) from None

    def _delivered(self, error: KafkaError | None, _message: Message | None) -> None:
        if error is not None and error.code() in _REFUSALS:
            self._refusals.append(error)

    def _produce(self, topic: str, record: Outgoing) -> None:
        while True:
            try:
                self._producer.produce(
                    topic,
                    record.value,
                    record.key,
                    headers=cast("Any", record.headers),
                    on_delivery=self._delivered,
                )
                return
            except BufferError:
                self._producer.poll(0.1)
