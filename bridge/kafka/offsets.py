"""Which offsets may be committed: the completed prefix of each partition, and nothing past it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

Key = int | tuple[int, int]
"""The key by which a tracker knows an image: its record's offset, with the image's index if the
record has several."""


MERGE_FROM = 4096
"""Records that a tracker keeps before it looks for finished ones that it need not keep."""


@dataclass(slots=True)
class Entry(Generic[T]):
    """One record in flight.

    Attributes:
        cost: bytes that it holds.
        begun: seconds of the caller's clock when it arrived.
        result: the outcome, if it is published only when the completed prefix reaches it.
        parts: the images of a record that refers to several; it is finished when all of them are.
    """

    offset: int
    cost: int
    begun: float = 0.0
    finished: bool = False
    result: T | None = None
    parts: "list[Part[T]] | None" = None
    left: int = 0
    """Parts that are not finished."""
    through: int = -1
    """The offset of the last of the finished records behind this one that are no longer kept."""

    @property
    def settled(self) -> bool:
        """Whether only the offset of this record is still of use."""
        return (
            self.finished
            and self.result is None
            and all(part.result is None for part in self.parts or ())
        )


@dataclass(slots=True)
class Part(Entry[T]):
    """One of several images of a record.

    Attributes:
        whole: the record.
    """

    whole: Entry[T] | None = None


class PartitionTracker(Generic[T]):
    """The records of one partition in flight, for one assignment of it.

    A partition that is revoked and assigned again gets a new tracker, so that a late result of the
    old assignment cannot move the offsets of the new one. Not thread-safe: `Assignment` holds the
    lock.

    Attributes:
        last: the offset of the newest record; -1 before the first.
        position: the next offset to consume if the bridge stopped now; None before the first.
        in_flight: records that have begun and are not released.
        cost: bytes that they hold.
    """

    __slots__ = (
        "_by_offset", "_committed", "_entries", "_merge_at", "cost", "in_flight", "last",
        "partition", "position", "revoked", "topic",
    )  # fmt: skip

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.revoked = False
        self.position: int | None = None
        self.in_flight = 0
        self.cost = 0
        self.last = -1
        self._committed: int | None = None
        self._entries: deque[Entry[T]] = deque()
        self._by_offset: dict[Key, Entry[T]] = {}
        self._merge_at = MERGE_FROM

    def begin(self, offset: int, cost: int = 0, begun: float = 0.0) -> bool:
        """Note a record that arrived at `begun`; False, and ignored, if its offset is not a new
        one."""
        if offset <= self.last:
            return False
        self.last = offset
        if len(self._entries) >= self._merge_at:
            self._merge()
        entry: Entry[T] = Entry(offset, cost, begun)
        self._entries.append(entry)
        self._by_offset[offset] = entry
        self.in_flight += 1
        self.cost += cost
        return True

    def _merge(self) -> None:
        """Keep only one number for finished records behind one that waits, perhaps for hours."""
        kept: deque[Entry[T]] = deque()
        for entry in self._entries:
            if kept and entry.settled:
                kept[-1].through = entry.offset
            else:
                kept.append(entry)
        self._entries = kept
        self._merge_at = max(MERGE_FROM, 2 * len(kept))

    def split(self, offset: int, costs: Sequence[int]) -> list[Key] | None:
        """Note that a record has several images, which finish one by one; returns their keys, or
        None if the record is not in flight."""
        whole = self._by_offset.pop(offset, None)
        if whole is None:
            return None
        keys: list[Key] = [(offset, number) for number in range(len(costs))]
        whole.parts = [Part(offset, cost, whole=whole) for cost in costs]
        whole.left = len(costs)
        self._by_offset.update(zip(keys, whole.parts, strict=True))
        self.in_flight += len(costs) - 1
        self.cost += sum(costs) - whole.cost
        return keys

    def resize(self, key: Key, more: int) -> bool:
        """Note that an image holds `more` bytes more; False if it is not in flight (any more)."""
        entry = self._by_offset.get(key)
        if entry is None:
            return False
        entry.cost += more
        self.cost += more
        return True

    def finish(self, key: Key, result: T | None = None) -> Entry[T] | None:
        """Note that an image is finished; None if it is not in flight (any more)."""
        entry = self._by_offset.pop(key, None)
        if entry is not None:
            entry.finished = True
            entry.result = result
            if isinstance(entry, Part) and entry.whole is not None:
                entry.whole.left -= 1
                entry.whole.finished = not entry.whole.left
        return entry

    @property
    def oldest(self) -> float | None:
        """When the first record after the completed prefix arrived; None: there is no such
        record."""
        return self._entries[0].begun if self._entries else None

    @property
    def completed(self) -> bool:
        """Whether `take` would return anything."""
        return bool(self._entries) and self._entries[0].finished

    @property
    def unfinished(self) -> int:
        """Number of images in flight that have no outcome yet."""
        return len(self._by_offset)

    def release(self, entry: Entry[T]) -> None:
        """Note that a finished record no longer holds memory."""
        self.in_flight -= 1
        self.cost -= entry.cost

    def take(self) -> list[Entry[T]]:
        """Move `position` over the completed prefix; returns its images in offset order."""
        taken: list[Entry[T]] = []
        while self._entries and self._entries[0].finished:
            entry = self._entries.popleft()
            if entry.parts is None:
                taken.append(entry)
            else:
                taken += entry.parts
            self.position = max(entry.offset, entry.through) + 1
        return taken

    def discard_finished(self) -> list[Entry[T]]:
        """Remove and return the finished images that were not taken; the tracker is used no
        more."""
        finished = [
            one for entry in self._entries for one in entry.parts or (entry,) if one.finished
        ]
        self._entries = deque(entry for entry in self._entries if not entry.finished)
        return finished

    def committable(self) -> int | None:
        """The offset to commit; None when nothing was completed since the last commit."""
        return None if self.position == self._committed else self.position

    @property
    def outstanding(self) -> bool:
        """Whether a commit would say something new."""
        return self.completed or self.committable() is not None

    def mark_committed(self, offset: int | None) -> None:
        """Note a commit; None takes back one that failed."""
        self._committed = offset
