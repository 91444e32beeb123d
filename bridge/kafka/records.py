"""Takes records from Kafka's client: as many at a time as there is room for in memory."""

import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from bridge.images import Publication, ReceivedRecord
from bridge.kafka.assignment import Assignment, Position
from bridge.kafka.watch import Watch
from bridge.room import Room
from wire.record import read_record

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
    ) -> None:
        self._consumer = consumer
        self._assignment = assignment
        self._watch = watch
        self._pixel_bytes = pixel_bytes
        self._unwrapped_bytes = unwrapped_bytes
        self._largest = 0
        """Bytes of the largest record of the last fetch: the next ones may be as large."""
        self._begun: list[ReceivedRecord] = []
        """Records that were taken and not yet handed on."""
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
                break
            wanted, step = wanted - count, 8 * step
        return self.take_begun()

    def fetch_one(self) -> list[ReceivedRecord]:
        """One record, if one comes, whether there is room or not."""
        message = self._consumer.poll(POLL_S)
        return [] if message is None else self._accept([message])

    def take_begun(self) -> list[ReceivedRecord]:
        """The records that the fetch now in progress has already taken; it will not return them."""
        begun, self._begun = self._begun, []
        return begun

    def _accept(self, messages: Sequence[Message]) -> list[ReceivedRecord]:
        received_ns = time.time_ns()
        watch = self._watch
        records = []
        places: list[Position] = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._consumer_error(message, error)
                continue
            record = read_record(message)
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

    def _consumer_error(self, message: Message, error: KafkaError) -> None:
        if self._watch is not None:
            self._watch.error(message, error)
        elif error.fatal():
            raise KafkaException(error)
