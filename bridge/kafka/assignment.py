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
    """The completed prefix of one partition.

    Attributes:
        offset: what to commit for it.
        entries: the records since the last time, in offset order.
    """

    tracker: PartitionTracker[T]
    offset: int
    entries: list[Entry[T]]


class Assignment(Generic[T]):
    """All trackers behind one lock: committing and asking "is it revoked?" cannot come apart.

    `changed` is that lock; it is notified when an answer is ready to be committed, when nothing of
    a partition is in flight any more, and when partitions go.

    Args:
        accounts: counts the images; its lock is this one.
    """

    def __init__(self, accounts: Accounts | None = None) -> None:
        self._accounts = accounts or Accounts()
        self.changed = Condition(self._accounts.lock)
        self._room = Condition(self._accounts.lock)
        self._room_wanted: tuple[int, int] | None = None
        self._released: Callable[[], None] | None = None
        self.extra_bytes = 0
        """Those of `bytes` that `resize` has added."""
        self.changes = 0
        """How many rebalances there have been."""
        self._trackers: dict[TopicPartition, PartitionTracker[T]] = {}
        self._closed = False
        self.progress_at = time.monotonic()
        """Monotonic seconds when an image was last finished, or the first one was taken."""

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
        """Seconds for which the oldest image in flight has been here; 0: there is none."""
        with self.changed:
            begun = [tracker.oldest for tracker in self._trackers.values()]
        found = [one for one in begun if one is not None]
        return time.monotonic() - min(found) if found else 0.0

    def in_flight(self) -> dict[TopicPartition, int]:
        """Images in flight of each partition."""
        with self.changed:
            return {key: tracker.in_flight for key, tracker in self._trackers.items()}

    def uncommitted(self, partitions: Iterable[TopicPartition]) -> bool:
        """Whether something of these partitions is answered, and not known to be committed."""
        with self.changed:
            trackers = [self._trackers.get(key) for key in partitions]
            return any(one is not None and one.outstanding for one in trackers)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        with self.changed:
            self.changes += 1
            for topic, partition in partitions:
                self._trackers[topic, partition] = PartitionTracker(topic, partition)

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget these partitions: what is in flight of them is no longer ours to answer for."""
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
        """Records have arrived; None for one whose partition is not (or no longer) ours."""
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
        """The log ends earlier than it did: Kafka has lost its end, and gives the offsets anew.

        To call these records known would lose them: they are others, or asked for again.
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
        """A record refers to several images, which hold so many bytes; None: it is not in flight.

        They are counted each, and the record is finished when all of them are.
        """
        with self.changed:
            before = tracker.cost
            keys = tracker.split(offset, costs)
            if keys is not None and not self._closed:
                self._accounts.split(len(costs), tracker.cost - before)
            return keys

    def resize(self, tracker: PartitionTracker[T], key: Key, more: int) -> None:
        """An image holds so many bytes more (or fewer, where that is negative)."""
        with self.changed:
            self.extra_bytes += more
            if tracker.resize(key, more) and not self._closed:
                self._accounts.bytes += more
                if more < 0:
                    self._told_of_room()

    def when_released(self, call: Callable[[], None]) -> None:
        """Call it once, at the next release of bytes, on any thread: it may only enqueue."""
        with self.changed:
            self._released = call

    def finish(self, images: Iterable[tuple[PartitionTracker[T], Key, T | None]]) -> None:
        """Images are done with: what they became is safe, or (None) they are dropped."""
        with self.changed:
            self._release(
                (tracker, tracker.finish(offset), became) for tracker, offset, became in images
            )

    def ready(self, answers: Iterable[tuple[PartitionTracker[T], Key, T]]) -> None:
        """Answers are known; they stay in flight until `release`.

        Those of a batch come together: whoever waits for them would else start with the first.
        """
        with self.changed:
            for tracker, offset, result in answers:
                entry = tracker.finish(offset, result)
                if tracker.revoked:
                    self._release([(tracker, entry, None)])
            self.changed.notify_all()

    def release(self, tracker: PartitionTracker[T], entries: Iterable[Entry[T]]) -> None:
        """Answers that waited are safe."""
        with self.changed:
            self._release((tracker, entry, entry.result) for entry in entries)

    def drop(self, tracker: PartitionTracker[T], entries: Iterable[Entry[T]]) -> None:
        """Answers that waited are another bridge's to give."""
        with self.changed:
            self._release((tracker, entry, None) for entry in entries)

    def close(self) -> None:
        """Let go of all that is in flight; what still comes of it is not counted."""
        with self.changed:
            self._closed = True
            self._accounts.close()

    def _release(
        self, images: Iterable[tuple[PartitionTracker[T], Entry[T] | None, T | None]]
    ) -> None:
        """These no longer hold memory; an entry that is None is not in flight (any more)."""
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
        """What may be committed now; its records are given once. The caller holds `changed`."""
        ready: list[Completed[T]] = []
        for tracker in self._trackers.values():
            entries = tracker.take()
            offset = tracker.committable()
            if offset is not None:
                ready.append(Completed(tracker, offset, entries))
        return ready

    def has_completed(self) -> bool:
        """Whether `take_completed` would give anything; the caller holds `changed`."""
        return any(tracker.completed for tracker in self._trackers.values())

    def unfinished(self) -> int:
        """Images in flight that are still to become something; the caller holds `changed`."""
        return sum(tracker.unfinished for tracker in self._trackers.values())

    def wait_finished(self, partitions: Iterable[TopicPartition], timeout_s: float) -> bool:
        """Wait until nothing of these partitions is in flight; False if time ran out."""
        wanted = list(partitions)

        def finished() -> bool:
            trackers = (self._trackers.get(key) for key in wanted)
            return not any(tracker.in_flight for tracker in trackers if tracker is not None)

        with self.changed:
            return self.changed.wait_for(finished, timeout_s)

    def wait_room(self, max_images: int, max_bytes: int, timeout_s: float) -> bool:
        """Wait until more images may be taken; False if time ran out."""
        with self.changed:
            # Remembered, so that the waiter is woken once and not for each image that leaves.
            self._room_wanted = (max_images, max_bytes)
            found = self._room.wait_for(lambda: self._has_room(max_images, max_bytes), timeout_s)
            self._room_wanted = None
            return found
