"""Sends dead letters again: their images go back to their topics, and Kafka remembers which."""

from collections.abc import Mapping
from typing import Any, cast

from confluent_kafka import KafkaException, Producer, TopicPartition

from cli.clients import explain, make_client, reason
from cli.topics import TopicError, find_partitions
from deadletters.reading import TIMEOUT_S, DeadLetterError
from wire.record import Outgoing, StoredRecord

MAX_MESSAGE = 64 << 20
"""Most bytes of a record; the limit that counts is the broker's."""


class Resender:
    """Sends dead letters again and notes their offsets in one transaction for each chunk."""

    def __init__(self, config: Mapping[str, Any], group: str) -> None:
        self._config = config
        self._known: set[str] = set()
        self._producer = make_client(
            Producer,
            {
                "message.max.bytes": MAX_MESSAGE,
                "compression.type": "lz4",
                **config,
                # One at a time: a second replay of the same selection fences the first.
                "transactional.id": group,
            },
        )
        try:
            self._producer.init_transactions(TIMEOUT_S)
        except KafkaException as error:
            why = explain(self._producer, config, error)
            raise DeadLetterError(
                f"cannot use Kafka at {config['bootstrap.servers']}: {why}"
            ) from None

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
            DeadLetterError: nothing of this chunk was sent.
        """
        self._require({topic for topic, _ in records})
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
            if error.args[0].txn_requires_abort():
                self._producer.abort_transaction(TIMEOUT_S)
            raise DeadLetterError(reason(error)) from None

    def _require(self, topics: set[str]) -> None:
        """Raise DeadLetterError where one of the topics does not exist: a transaction would wait
        for it, and say only that something failed."""
        try:
            for topic in sorted(topics - self._known):
                find_partitions(self._producer, self._config, topic, None)
                self._known.add(topic)
        except TopicError as error:
            raise DeadLetterError(str(error)) from None
        except KafkaException as error:
            raise DeadLetterError(reason(error)) from None

    def _produce(self, topic: str, record: Outgoing) -> None:
        while True:
            try:
                self._producer.produce(
                    topic, record.value, record.key, headers=cast("Any", record.headers)
                )
                return
            except BufferError:
                self._producer.poll(0.1)
