"""Reading the dead letters that are in a topic, and single images by their place."""

from collections.abc import Iterator, Mapping
from typing import Any, Self, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from cli.clients import (
    KafkaSettingError,
    client_config,
    connected,
    explain,
    make_client,
    option_name,
    reason,
)
from cli.topics import TopicError, find_partitions
from wire.record import StoredRecord, read_record

CHUNK = 200
"""Dead letters in one transaction; each holds an image in memory."""
TIMEOUT_S = 20.0


DECIDED = (
    "enable.auto.commit",
    "auto.commit.enable",
    "isolation.level",
    "auto.offset.reset",
    "group.id",
    "transactional.id",
    "enable.idempotence",
    "acks",
    "request.required.acks",
)
"""Options that would lose dead letters, send them twice, or send those of transactions that were
aborted."""


def make_config(brokers: str, options: Mapping[str, str]) -> dict[str, Any]:
    """The settings of each client here.

    Raises:
        KafkaSettingError: an option that is not the user's to set.
    """
    for name in options:
        if option_name(name) in DECIDED:
            raise KafkaSettingError(f"{name} is decided by this command: leave it out")
    return client_config(brokers, "dead-letters", options)


class DeadLetterError(Exception):
    """Kafka cannot be read or written; the text says why."""


class DeadLetters:
    """The dead letters that are in a topic when this is made, and no later ones; a context manager.

    Args:
        config: of the client, the brokers among it.
        group: remembers what was sent again; None: read everything, remember nothing.

    Raises:
        DeadLetterError: no broker, no such topic.
        KafkaSettingError: a setting that librdkafka refuses.
    """

    def __init__(self, config: Mapping[str, Any], topic: str, group: str | None) -> None:
        self._topic = topic
        self._group = group
        brokers = config["bootstrap.servers"]
        self._consumer = make_client(
            Consumer,
            {
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "queued.max.messages.kbytes": 32 << 10,
                **config,
                "group.id": group or "dead-letters-commit-nothing",
                "enable.partition.eof": True,
            },
        )
        try:
            self._partitions = find_partitions(self._consumer, config, topic, None)
        except TopicError as error:
            self._consumer.close()
            raise DeadLetterError(str(error)) from None
        except KafkaException as error:
            why = explain(self._consumer, config, error)
            self._consumer.close()
            raise DeadLetterError(f"cannot use Kafka at {brokers}: {why}") from None
        connected(config)
        try:
            self._ends = {partition: self._end(partition) for partition in self._partitions}
        except KafkaException as error:
            self._consumer.close()
            raise DeadLetterError(reason(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def _end(self, partition: int) -> int:
        place = TopicPartition(self._topic, partition)
        # For a reader of committed records, this is the last stable offset.
        return self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)[1]

    def chunks(self) -> Iterator[list[StoredRecord]]:
        """All letters not yet sent again, to the end that was found at the start.

        What comes meanwhile may be these very letters, failed again: they would never end.
        """
        left = set(self._partitions)
        try:
            self._consumer.assign(self._starts())
            while left:
                found = []
                for message in self._consumer.consume(CHUNK, 1.0):
                    error = message.error()
                    if error is None:
                        record = read_record(message)
                        if record.offset() < self._ends[record.partition()]:
                            found.append(record)
                        if record.offset() + 1 >= self._ends[record.partition()]:
                            left.discard(record.partition())
                    elif error.code() == KafkaError._PARTITION_EOF:
                        left.discard(cast("int", message.partition()))
                    elif error.fatal() or not error.retriable():
                        raise KafkaException(error)  # noqa: TRY301 - reported below like a call's
                if found:
                    yield found
        except KafkaException as error:
            raise DeadLetterError(reason(error)) from None

    def _starts(self) -> list[TopicPartition]:
        wanted = [TopicPartition(self._topic, p) for p in self._partitions]
        if self._group is not None:
            wanted = self._consumer.committed(wanted, timeout=TIMEOUT_S)
        for one in wanted:
            if self._group is None or one.offset == OFFSET_INVALID:
                one.offset = OFFSET_BEGINNING
        return wanted

    def group_metadata(self) -> Any:
        return self._consumer.consumer_group_metadata()


class Originals:
    """Single records by their place: for letters that were too large to keep all of their image.

    A context manager.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._consumer = make_client(
            Consumer,
            {
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                **config,
                "group.id": "dead-letters-commit-nothing",
            },
        )

    def record(self, topic: str, partition: int, offset: int) -> StoredRecord | None:
        """The record; None when Kafka no longer has it."""
        if not topic or min(partition, offset) < 0:
            return None  # a letter that does not say
        place = TopicPartition(topic, partition, offset)
        try:
            low, high = self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)
            if not low <= offset < high:
                return None
            self._consumer.assign([place])
            message = self._consumer.poll(TIMEOUT_S)
        except KafkaException:
            return None
        if message is None or message.error() is not None or message.offset() != offset:
            return None
        return read_record(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
