"""Reads the dead letters of a topic, and single images by partition and offset."""

from collections.abc import Iterator, Mapping
from functools import cached_property
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
from wire.topics import is_topic_name

CHUNK = 200
"""Most dead letters in one transaction; each holds an image in memory."""
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
"""Options that would lose dead letters, send them twice, or send those of aborted transactions."""


def make_config(brokers: str, options: Mapping[str, str]) -> dict[str, Any]:
    """The settings of each client here.

    Raises:
        KafkaSettingError: the user must not set an option.
    """
    for name in options:
        if option_name(name) in DECIDED:
            raise KafkaSettingError(f"{name} is decided by this command: leave it out")
    return client_config(brokers, "dead-letters", options)


_GONE = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 - how librdkafka names its local errors
    KafkaError._PARTITION_EOF,
)
"""Errors that say that a record is not there, and not that Kafka cannot be asked."""


class DeadLetterError(Exception):
    """Kafka cannot be read or written; the text says why."""


class DeadLetters:
    """The dead letters that are in a topic when this is made, and no later ones; a context manager.

    Args:
        config: options of the client, including the brokers.
        group: the group that remembers what was sent again; None: read all, remember nothing.

    Raises:
        DeadLetterError: no broker is reached, or the topic does not exist.
        KafkaSettingError: librdkafka refuses an option.
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
        # A reader of committed records gets the last stable offset here.
        return self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)[1]

    def chunks(self) -> Iterator[list[StoredRecord]]:
        """All dead letters that were not sent again, up to the end that was found at the start.

        Later ones may be these same images, failed again: reading them would never end.
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
    """Reads single records by offset, for dead letters that were too large to keep all of an image.

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
                "enable.partition.eof": True,
            },
        )

    @cached_property
    def _topics(self) -> frozenset[str]:
        try:
            return frozenset(self._consumer.list_topics(timeout=TIMEOUT_S).topics)
        except KafkaException as error:
            raise DeadLetterError(f"cannot ask for the topics: {reason(error)}") from None

    def has(self, topic: str) -> bool:
        """Whether there was such a topic when this was first asked.

        Raises:
            DeadLetterError: Kafka does not say.
        """
        return topic in self._topics

    def record(self, topic: str, partition: int, offset: int) -> StoredRecord | None:
        """The record; None when Kafka no longer has it.

        Raises:
            DeadLetterError: Kafka does not say: the dead letter must not count as handled.
        """
        if not is_topic_name(topic) or min(partition, offset) < 0:
            return None  # the dead letter does not say where its image was
        place = TopicPartition(topic, partition, offset)
        try:
            low, high = self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)
            if not low <= offset < high:
                return None
            self._consumer.assign([place])
            message = self._consumer.poll(TIMEOUT_S)
            problem = KafkaError(KafkaError._TIMED_OUT) if message is None else message.error()
            if problem is not None:
                raise KafkaException(problem)  # noqa: TRY301 - reported below like a call's
        except KafkaException as error:
            if error.args[0].code() in _GONE:
                return None
            where = f"{topic}/{partition}/{offset}"
            raise DeadLetterError(f"cannot read the image at {where}: {reason(error)}") from None
        assert message is not None
        return read_record(message) if message.offset() == offset else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
