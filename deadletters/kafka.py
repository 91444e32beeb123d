"""The Kafka edge: reading all dead letters there are, and sending some again."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from cli.clients import connected, explain, make_client, reason
from cli.topics import TopicError, find_partitions
from wire.record import Outgoing, StoredRecord, read_record

CHUNK = 200
"""Letters in one transaction, each an image in memory."""
TIMEOUT_S = 20.0
MAX_MESSAGE = 64 << 20
"""Bytes: the broker's limit is what counts."""


class DeadLetterError(Exception):
    """Kafka cannot be read or written; the text says why."""


class Letters:
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
        # Of a reader of what is committed, it is the last stable offset.
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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come: what is before the offset, by partition, was looked at.

    Attributes:
        note: what the replay kept with its offsets: the letters that it takes.
    """

    note: str
    offsets: Mapping[int, int]


def replays(config: Mapping[str, Any], topic: str, groups: Iterable[str]) -> list[Progress]:
    """The progress of all replays of a topic, those of these groups among them.

    Raises:
        DeadLetterError: Kafka does not say.
    """
    admin = make_client(AdminClient, config)
    try:
        listed = admin.list_consumer_groups(request_timeout=TIMEOUT_S).result().valid
        names = {one.group_id for one in listed}
        wanted = {name for name in names if name.startswith(group_prefix(topic))}
        wanted |= names & set(groups)
        asked = [
            admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(name)], request_timeout=TIMEOUT_S
            )[name]
            for name in sorted(wanted)
        ]
        return [
            _progress(one.result().topic_partitions or [], topic, name)
            for one, name in zip(asked, sorted(wanted), strict=True)
        ]
    except KafkaException as error:
        raise DeadLetterError(reason(error)) from None


def _progress(committed: Iterable[TopicPartition], topic: str, group: str) -> Progress:
    ours = [one for one in committed if one.topic == topic and one.offset >= 0]
    note = next((one.metadata for one in ours if one.metadata), group)
    return Progress(note, {one.partition: one.offset for one in ours})


def group_prefix(topic: str) -> str:
    """How the names of the groups begin that remember what was sent again."""
    return f"dead-letters-replay-{topic}-"


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


class Resender:
    """Sends letters again and notes their offsets, both or neither: one transaction a chunk."""

    def __init__(self, config: Mapping[str, Any], group: str) -> None:
        self._producer = make_client(
            Producer,
            {
                "message.max.bytes": MAX_MESSAGE,
                "compression.type": "lz4",
                **config,
                # One at a time: a second replay of the same selection puts the first out.
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
        """Send `records` (topic, record); `done` are the letters looked at.

        Args:
            note: kept with the offsets.

        Raises:
            DeadLetterError: nothing of this chunk was sent.
        """
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

    def _produce(self, topic: str, record: Outgoing) -> None:
        while True:
            try:
                self._producer.produce(
                    topic, record.value, record.key, headers=cast("Any", record.headers)
                )
                return
            except BufferError:
                self._producer.poll(0.1)
