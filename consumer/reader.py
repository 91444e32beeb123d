"""Where the consumer reads Kafka: records of several topics, each with the time of its receipt."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from cli.clients import CONNECT_S, client_config, connected, explain, make_client, reason
from cli.topics import TopicError, end_offset, find_partitions
from wire.clock import kafka_time
from wire.record import StoredRecord, read_record

Start = Literal["latest", "earliest"]

QUEUED_KBYTES = 16 << 10
"""Bound on the fetched records of each partition, in KiB; images are read only for their
headers."""


class ReadError(Exception):
    """Kafka cannot be read; the text says why."""


class Received(NamedTuple):
    """A record, and when a reader could have it at the earliest.

    Attributes:
        at_ns: the time of its receipt, in epoch nanoseconds. For a stored record, the end of the
            millisecond of its Kafka timestamp: when the bridge handed it to Kafka, or, if the topic
            has LogAppendTime, when the broker got it.
        stored: it was on the topic before reading began: the time of its receipt means nothing.
    """

    record: StoredRecord
    at_ns: int
    stored: bool = False


def librdkafka_config(brokers: str, options: Mapping[str, str]) -> dict[str, Any]:
    """The consumer's settings; `options` (any librdkafka option) override them."""
    defaults = {
        "group.id": "latency-consumer",  # required by librdkafka; nothing is joined or committed
        "enable.auto.commit": False,
        # Records that were deleted before they were read are an error here, never skipped
        # unnoticed.
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "queued.max.messages.kbytes": QUEUED_KBYTES,
        # Pause of fetching when the local queue is full: the default of 1 s would be measured, too.
        "fetch.queue.backoff.ms": 5,
        # The broker answers at once: a record must not wait for others to fill a fetch.
        "fetch.min.bytes": 1,
    }
    return client_config(brokers, "latency-consumer", {**defaults, **options})


def check(config: Mapping[str, Any]) -> None:
    """Check the options.

    Raises:
        KafkaSettingError: librdkafka refuses one.
    """
    make_client(Consumer, config).close()


class TopicReader:
    """Reads all partitions that the topics have when it is made; joins no group."""

    def __init__(
        self, config: Mapping[str, Any], topics: Sequence[str], start: Start, timeout: float | None
    ) -> None:
        """Connect and fix the start: nothing that is sent after this call is missed.

        Args:
            config: librdkafka options.
            topics: the topics to read.
            start: latest: only what comes from now on.
            timeout: seconds to reach Kafka and find the topics; None: as `reach` does.

        Raises:
            KafkaSettingError: librdkafka refuses an option.
            ReadError: no broker is reached, or a topic does not exist.
        """
        brokers = config["bootstrap.servers"]
        self._ends: dict[tuple[str, int], int] = {}
        self._ended: set[tuple[str | None, int | None]] = set()
        self._consumer = make_client(Consumer, config)
        try:
            self._consumer.assign(self._assignment(topics, config, start, timeout))
        except KafkaException as error:
            why = explain(self._consumer, config, error)
            self._consumer.close()
            raise ReadError(f"cannot read from Kafka at {brokers}: {why}") from None
        except TopicError as error:
            self._consumer.close()
            raise ReadError(str(error)) from None
        connected(config)

    def poll(self, seconds: float) -> Received | None:
        """The next record, or None after `seconds`.

        It takes one at a time: `Consumer.consume(n)` waits to fill its batch, which would be
        measured.

        Raises:
            ReadError: reading cannot go on.
        """
        try:
            message = self._consumer.poll(seconds)
        except KafkaException as error:
            raise ReadError(f"cannot read from Kafka: {reason(error)}") from None
        at_ns = time.time_ns()
        if message is None:
            return None
        problem = message.error()
        if problem is None:
            return self._received(message, at_ns)
        if problem.code() == KafkaError._PARTITION_EOF:
            self._ended.add((message.topic(), message.partition()))
            return None
        # librdkafka retries after all other errors (such as a broker that is away), and logs them.
        if problem.fatal() or problem.code() in _HOPELESS:
            raise ReadError(f"cannot read topic {message.topic()!r}: {problem.str()}")
        return None

    @property
    def at_end(self) -> bool:
        """Whether the end of each partition was reached; works only with `enable.partition.eof`."""
        return len(self._ended) == len(self._ends)

    def close(self) -> None:
        self._consumer.close()

    def _received(self, message: Message, now_ns: int) -> Received:
        record = read_record(message)
        if record.offset() >= self._ends[record.topic(), record.partition()]:
            return Received(record, now_ns)
        stored_ns = kafka_time(record)
        return Received(record, stored_ns and stored_ns + 1_000_000, stored=True)

    def _assignment(
        self, topics: Sequence[str], config: Mapping[str, Any], start: Start, timeout: float | None
    ) -> list[TopicPartition]:
        """The positions to start at; waits for a topic that is being created."""
        deadline = time.monotonic() + (CONNECT_S if timeout is None else timeout)
        found = []
        for topic in topics:
            for partition in find_partitions(self._consumer, config, topic, timeout):
                at = TopicPartition(topic, partition, OFFSET_BEGINNING)
                # librdkafka would look up OFFSET_END only at the first fetch, which is too late.
                end = end_offset(self._consumer, at, deadline)
                self._ends[topic, partition] = end
                if start == "latest":
                    at.offset = end
                found.append(at)
        return found


_HOPELESS = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 - how librdkafka names its local errors
)
