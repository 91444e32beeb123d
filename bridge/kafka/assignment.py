"""The partitions that this bridge owns right now, and the images of each in flight."""

import time
from collections.abc import Callable, Iterable, Sequence
from threading import Condition
from typing import Generic, NamedTuple, TypeVar

import structlog

from bridge.accounts import Accounts, Became
from bridge.kafka.offsets import Entry, Key, PartitionTracker

log = structlog.get_logger()

T = TypeVar("T", bound=Became)
TopicPartition = tuple[str, int]
Position = tuple[str, int, int, int]
"""Topic, partition and offset of a record, and the bytes that it holds."""


class Completed(NamedTuple, Generic[T]):
    """The completed prefix of one partition that is not committed yet.

    Attributes:
        offset: the offset to commit.
        entries: the records since the last call, in offset order.
    """

    tracker: PartitionTracker[T]
    offset: int
    entries: list[Entry[T]]


class Assignment(Generic[T]):
    """All trackers behind one lock, so that a revocation cannot come between a check and a commit.

    `changed` is that lock. It is notified when an outcome is ready to be committed, when nothing of
    a partition is in flight any more, and when partitions are revoked.

    Args:
        accounts: counts the images; its lock is also `changed`.
    """

    def __init__(self, accounts: Accounts | None = None) -> None:
        self._accounts = accounts or Accounts()
        self.changed = Condition(self._accounts.lock)
        self._room = Condition(self._accounts.lock)
        self._room_wanted: tuple[int, int] | None = None
        self._released: Callable[[], None] | None = None
        self.extra_bytes = 0
        """The part of `bytes` that `resize` has added."""
        self.changes = 0
        """Number of changes of the assignment so far."""
        self._trackers: dict[TopicPartition, PartitionTracker[T]] = {}
        self._closed = False
        self.progress_at = time.monotonic()
        """Monotonic seconds when an image was last finished, or taken while none was in flight."""

    @property
    def partitions(self) -> list[TopicPartition]:
        with self.changed:
            return sorted(self._trackers)

    @property
    def images(self) -> int:
        """Images in flight, those of revoked partitions included until they are dropped."""
        return self._accounts.in_flight

    @property
    def bytes(self) -> int:
        return self._accounts.bytes

    def oldest_age(self) -> float:
        """Age in seconds of the oldest image in flight, since it arrived; 0: there is none."""
        with self.changed:
            begun = [tracker.oldest for tracker in self._trackers.values()]
        found = [one for one in begun if one is not None]
        return time.monotonic() - min(found) if found else 0.0

    def in_flight(self) -> dict[TopicPartition, int]:
        """Images in flight of each partition."""
        with self.changed:
            return {key: tracker.in_flight for key, tracker in self._trackers.items()}

    def uncommitted(self, partitions: Iterable[TopicPartition]) -> bool:
        """Whether these partitions have outcomes that are not known to be committed."""
        with self.changed:
            trackers = [self._trackers.get(key) for key in partitions]
            return any(one is not None and one.outstanding for one in trackers)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        with self.changed:
            self.changes += 1
            for topic, partition in partitions:
                self._trackers[topic, partition] = PartitionTracker(topic, partition)

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget these partitions: the bridge no longer answers what is in flight of them."""
        with self.changed:
            self.changes += 1
            for key in partitions:
                self._forget(key)
            self.changed.notify_all()

    def _forget(self, key: TopicPartition) -> None:
        tracker = self._trackers.pop(key, None)
        if tracker is not None:
            tracker.revoked = True
            self._release(
                (tracker, entry, None)
                for entry in tracker.discard_finished()
                if entry.result is not None
            )

    def begin(self, records: Iterable[Position]) -> list[PartitionTracker[T] | None]:
        """Note records that arrived: their trackers; None where the partition is not ours."""
        with self.changed:
            now = time.monotonic()
            return [self._begin(*record, now) for record in records]

    def _begin(
        self, topic: str, partition: int, offset: int, cost: int, now: float
    ) -> PartitionTracker[T] | None:
        tracker = self._trackers.get((topic, partition))
        if tracker is None:
            return None
        if not tracker.begin(offset, cost, now):
            tracker = self._rewind(tracker, offset)
            tracker.begin(offset, cost, now)
        if self._accounts.in_flight == 0:
            self.progress_at = now
        self._accounts.begin(cost)
        return tracker

    def _rewind(self, tracker: PartitionTracker[T], offset: int) -> PartitionTracker[T]:
        """Start afresh at an offset that was known: Kafka has lost the end of the log.

        To treat these records as known would lose them: they are new records, or asked for again.
        """
        log.warning(
            "partition_rewound", topic=tracker.topic, partition=tracker.partition, offset=offset,
            previous=tracker.last,
        )  # fmt: skip
        key = (tracker.topic, tracker.partition)
        self._forget(key)
        fresh: PartitionTracker[T] = PartitionTracker(*key)
        self._trackers[key] = fresh
        self.changed.notify_all()
        return fresh

    def split(
        self, tracker: PartitionTracker[T], offset: int, costs: Sequence[int]
    ) -> list[Key] | None:
        """Note that a record refers to several images, each of which holds that many bytes.

        Each image is counted, and the record is finished when all of them are.

        Returns:
            The key of each image; None: the record is not in flight.
        """
        with self.changed:
            before = tracker.cost
            keys = tracker.split(offset, costs)
            if keys is not None and not self._closed:
                self._accounts.split(len(costs), tracker.cost - before)
            return keys

    def resize(self, tracker: PartitionTracker[T], key: Key, more: int) -> None:
        """Note that an image holds `more` bytes more (or fewer, if negative)."""
        with self.changed:
            self.extra_bytes += more
            if tracker.resize(key, more) and not self._closed:
                self._accounts.bytes += more
                if more < 0:
                    self._told_of_room()

    def when_released(self, call: Callable[[], None]) -> None:
        """Have `call` called once, at the next release of bytes; on any thread, so it may only
        enqueue."""
        with self.changed:
            self._released = call

    def finish(self, images: Iterable[tuple[PartitionTracker[T], Key, T | None]]) -> None:
        """End images: their outcome is safe, or (None) they are dropped."""
        with self.changed:
            self._release(
                (tracker, tracker.finish(offset), became) for tracker, offset, became in images
            )

    def ready(self, answers: Iterable[tuple[PartitionTracker[T], Key, T]]) -> None:
        """Note outcomes that are known; the images stay in flight until `release`.

        The outcomes of a batch are given together: otherwise a waiter would start with the first.
        """
        with self.changed:
            for tracker, offset, result in answers:
                entry = tracker.finish(offset, result)
                if tracker.revoked:
                    self._release([(tracker, entry, None)])
            self.changed.notify_all()

    def release(self, tracker: PartitionTracker[T], entries: Iterable[Entry[T]]) -> None:
        """End images whose outcomes waited and are safe now."""
        with self.changed:
            self._release((tracker, entry, entry.result) for entry in entries)

    def drop(self, tracker: PartitionTracker[T], entries: Iterable[Entry[T]]) -> None:
        """End images whose outcomes waited and that another bridge will answer."""
        with self.changed:
            self._release((tracker, entry, None) for entry in entries)

    def close(self) -> None:
        """Drop all that is in flight; results that still come are not counted."""
        with self.changed:
            self._closed = True
            self._accounts.close()

    def _release(
        self, images: Iterable[tuple[PartitionTracker[T], Entry[T] | None, T | None]]
    ) -> None:
        """Count these images as ended; an entry that is None is not in flight (any more)."""
        if self._closed:
            return
        emptied = False
        for tracker, entry, became in images:
            if entry is not None:
                tracker.release(entry)
                self._accounts.end(entry.cost, became)
                emptied |= tracker.in_flight == 0
        self.progress_at = time.monotonic()
        if emptied:
            self.changed.notify_all()
        self._told_of_room()

    def _told_of_room(self) -> None:
        if self._room_wanted is not None and self._has_room(*self._room_wanted):
            self._room.notify_all()
        if (released := self._released) is not None:
            self._released = None
            released()

    def _has_room(self, images: int, size: int) -> bool:
        return self._accounts.in_flight < images and self._accounts.bytes < size

    def take_completed(self) -> list[Completed[T]]:
        """What may be committed now; each record is returned once. The caller holds `changed`."""
        ready: list[Completed[T]] = []
        for tracker in self._trackers.values():
            entries = tracker.take()
            offset = tracker.committable()
            if offset is not None:
                ready.append(Completed(tracker, offset, entries))
        return ready

    def has_completed(self) -> bool:
        """Whether `take_completed` would return anything; the caller holds `changed`."""
        return any(tracker.completed for tracker in self._trackers.values())

    def unfinished(self) -> int:
        """Images in flight that have no outcome yet; the caller holds `changed`."""
        return sum(tracker.unfinished for tracker in self._trackers.values())

    def wait_finished(self, partitions: Iterable[TopicPartition], timeout_s: float) -> bool:
        """Wait until nothing of these partitions is in flight; False after `timeout_s` seconds."""
        wanted = list(partitions)

        def finished() -> bool:
            trackers = (self._trackers.get(key) for key in wanted)
            return not any(tracker.in_flight for tracker in trackers if tracker is not None)

        with self.changed:
            return self.changed.wait_for(finished, timeout_s)

    def wait_room(self, max_images: int, max_bytes: int, timeout_s: float) -> bool:
        """Wait until more images may be taken; False after `timeout_s` seconds."""
        with self.changed:
            # Kept, so that the waiter is woken once and not for each image that ends.
            self._room_wanted = (max_images, max_bytes)
            found = self._room.wait_for(lambda: self._has_room(max_images, max_bytes), timeout_s)
            self._room_wanted = None
            return found
