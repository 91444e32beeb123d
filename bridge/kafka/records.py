"""Takes records from Kafka's client: as many at a time as there is room for in memory."""

import time
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bridge.images import Publication, ReceivedRecord
from bridge.kafka.assignment import Assignment, Position
from bridge.kafka.watch import Watch
from bridge.room import Room
from wire.record import StoredRecord, read_record

log = structlog.get_logger()

FETCH = 256
"""Records taken from the client's queue at a time: enough to make the cost of a call negligible."""
FIRST_STEP = 8
"""Records of a fetch that are asked for before the size of any of them is known."""
POLL_S = 0.1
"""Longest wait for a record in seconds: a commit that is due, or a stop, waits no longer."""


class Records:
    """Takes records within a bound on images and bytes. Everything is for the intake's thread.

    Args:
        watch: is told what is read, and about errors; None: a fatal error is raised.
        pixel_bytes: bytes that an image takes once it is decoded, in addition to its record.
        unwrapped_bytes: bytes that the content of a wrapped value takes in addition to the value.
        after_batch: returns the offset after the batch that begins at an offset of a partition;
            None: batches that cannot be decompressed are not passed over.
    """

    def __init__(
        self,
        consumer: Consumer,
        assignment: Assignment[Publication],
        watch: Watch | None,
        *,
        pixel_bytes: int,
        unwrapped_bytes: Callable[[bytes], int],
        room: Room,
        after_batch: Callable[[str, int, int], int] | None = None,
    ) -> None:
        self._after_batch = after_batch
        self._consumer = consumer
        self._assignment = assignment
        self._watch = watch
        self._pixel_bytes = pixel_bytes
        self._unwrapped_bytes = unwrapped_bytes
        self._largest = 0
        """Bytes of the largest record of the last fetch: the next ones may be as large."""
        self._begun: list[ReceivedRecord] = []
        """Records that were taken and not yet handed on."""
        self._emptied = False
        self.resize(room)

    def resize(self, room: Room) -> None:
        """Allow this much in flight from now on; any thread may call it."""
        self._max_bytes = room.size
        self._fetch_size = min(FETCH, max(1, room.images // 4))
        # Wait for room for a whole fetch: to take records one by one, whenever an image leaves,
        # costs several times as much.
        self._room_from = room.images - self._fetch_size + 1

    def wait_room(self, timeout_s: float) -> bool:
        """Wait until there is room for a whole fetch; False after `timeout_s` seconds."""
        return self._assignment.wait_room(self._room_from, self._max_bytes, timeout_s)

    def fetch(self) -> list[ReceivedRecord]:
        """As many records as there are and there is room for; none if none comes within
        `POLL_S`."""
        # A wait for many records would last until all of them are there. So the wait is for one,
        # and whatever has come with it is taken along.
        first = self._consumer.poll(POLL_S)
        if first is None:
            self._emptied = True
            return []
        # Taken before the rest is asked for: during that call its partition can be revoked, and
        # be assigned again to be read from an earlier record.
        largest, self._largest = self._largest, 0
        self._begun = self._accept([first])
        wanted, step = self._fetch_size - 1, FIRST_STEP
        while wanted > 0:
            # No more than there is room for if all are as large as the largest lately; and few at
            # first, since the next ones may be larger than all before.
            room = self._max_bytes - self._assignment.bytes
            count = min(wanted, step, room // max(largest, self._largest, 1))
            messages = self._consumer.consume(count, 0) if count > 0 else []
            self._begun += self._accept(messages)
            if len(messages) < count or not messages:
                self._emptied |= count > 0
                break
            wanted, step = wanted - count, 8 * step
        return self.take_begun()

    def fetch_one(self) -> list[ReceivedRecord]:
        """One record, if one comes, whether there is room or not."""
        message = self._consumer.poll(POLL_S)
        return [] if message is None else self._accept([message])

    def was_emptied(self) -> bool:
        """Whether all that the client had fetched was taken at some time since the last call."""
        emptied, self._emptied = self._emptied, False
        return emptied

    def take_begun(self) -> list[ReceivedRecord]:
        """The records that the fetch now in progress has already taken; it will not return them."""
        begun, self._begun = self._begun, []
        return begun

    def _accept(self, messages: Sequence[Message]) -> list[ReceivedRecord]:
        received_ns = time.time_ns()
        watch = self._watch
        records = []
        places: list[Position] = []
        passed: set[tuple[str | None, int | None]] = set()
        for message in messages:
            record: StoredRecord | None
            error = message.error()
            if error is None:
                record = read_record(message)
            elif error.code() == KafkaError._BAD_COMPRESSION:  # noqa: SLF001 - librdkafka's own
                key = (message.topic(), message.partition())
                record = None if key in passed else self._pass_over(message, error)
                passed.add(key)
            else:
                self._consumer_error(message, error)
                record = None
            if record is None:
                continue
            topic, partition, offset = (
                record.record_topic, record.record_partition, record.record_offset,
            )  # fmt: skip
            size = record.size
            # Raw pixels are used as they are.
            value = record.record_value or b""
            if len(value) != self._pixel_bytes:
                size += self._pixel_bytes + self._unwrapped_bytes(value)
            if size > self._largest:
                self._largest = size
            records.append(record)
            places.append((topic, partition, offset, size))
            if watch is not None:
                watch.read((topic, partition), offset)
        return [
            ReceivedRecord(record, tracker, place[2], received_ns)
            for record, place, tracker in zip(
                records, places, self._assignment.begin(places), strict=True
            )
            if tracker is not None  # else its partition was revoked while it was on its way
        ]

    def _pass_over(self, message: Message, error: KafkaError) -> StoredRecord | None:
        """Read on after a batch that cannot be decompressed; otherwise it would be asked for again
        for ever.

        Returns:
            A record in place of the last one of the batch; None: nothing was passed over.
        """
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        if self._after_batch is None:
            self._consumer_error(message, error)
            return None
        try:
            after = self._after_batch(topic, partition, offset)
            self._consumer.seek(TopicPartition(topic, partition, after))
        except KafkaException as problem:
            log.warning("batch_not_passed", error=str(problem), partition=partition)
            self._consumer_error(message, error)
            return None
        why = (
            f"a batch of records, offsets {offset} to {after - 1}, that Kafka's client cannot "
            "decompress: it is damaged, or takes more than receive.message.max.bytes"
        )
        log.warning("batch_unreadable", topic=topic, partition=partition, error=why)
        return StoredRecord(topic, partition, after - 1, unreadable=why)

    def _consumer_error(self, message: Message, error: KafkaError) -> None:
        if self._watch is not None:
            self._watch.error(message, error)
        elif error.fatal():
            raise KafkaException(error)
