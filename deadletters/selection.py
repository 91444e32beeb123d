"""Which dead letters a command is about, and the text about them. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from wire.clock import is_believable
from wire.deadletter import DeadLetter, decode_dead_letter, one_line
from wire.record import KafkaRecord, StoredRecord, raw_bytes


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter; an attribute that is empty or None lets all dead letters through.

    Attributes:
        reasons: `stage`, `class`, or `stage/class`.
        since_ms, until_ms: time of the dead-lettering in epoch milliseconds; the end is excluded.
        ids: keys of the records.
    """

    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    ids: frozenset[str] = frozenset()

    def takes(self, record: KafkaRecord, letter: DeadLetter) -> bool:
        names = {letter.stage, letter.error_class, reason(letter)}
        return (
            (not self.reasons or bool(names & self.reasons))
            and (self.since_ms is None or letter.timestamp_ms >= self.since_ms)
            and (self.until_ms is None or letter.timestamp_ms < self.until_ms)
            and (not self.ids or raw_bytes(record.key()).decode(errors="replace") in self.ids)
        )

    def note(self) -> str:
        """The selection as text, for `read_note`."""
        return orjson.dumps(
            [sorted(self.reasons), self.since_ms, self.until_ms, sorted(self.ids)]
        ).decode()

    @property
    def digest(self) -> str:
        """A digest that is equal for equal selections: part of the name of the consumer group that
        remembers the progress."""
        text = repr((sorted(self.reasons), self.since_ms, self.until_ms, sorted(self.ids)))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_letter(record: StoredRecord) -> DeadLetter:
    """The reason in a record of the dead letters' topic, whatever its content is."""
    letter = decode_dead_letter(record)
    if record.unreadable is not None:
        return letter._replace(stage="unreadable", error_class="headers", message=record.unreadable)
    return letter


MAX_NOTE = 4096
"""Most bytes that a broker keeps with an offset (offset.metadata.max.bytes)."""


def read_note(note: str) -> Selection | None:
    """The selection that `Selection.note` wrote down; None for any other text."""
    try:
        reasons, since_ms, until_ms, ids = orjson.loads(note)
        return Selection(frozenset(reasons), since_ms, until_ms, frozenset(ids))
    except (ValueError, TypeError):
        return None


def is_open(
    record: KafkaRecord, letter: DeadLetter, replays: Iterable[tuple[Selection, Mapping[int, int]]]
) -> bool:
    """Whether no replay has sent this letter again.

    Args:
        replays: for each replay its selection, and the offset that it has reached in each
            partition.
    """
    partition, offset = record.partition(), record.offset()
    assert partition is not None
    assert offset is not None
    return not any(
        offset < offsets.get(partition, 0) and selection.takes(record, letter)
        for selection, offsets in replays
    )


MAX_NAME = 249
"""Most characters that are shown of a name: as many as that of a topic may have."""


def clipped(name: str) -> str:
    """A name that a stranger wrote, on one line and not too long."""
    return one_line(name)[:MAX_NAME]


def reason(letter: DeadLetter) -> str:
    return f"{letter.stage or '?'}/{letter.error_class or '?'}"


@dataclass(slots=True)
class Group:
    """The dead letters of one reason.

    Attributes:
        open: number of them that were not sent again.
        samples: a few of them, as `id at topic/partition/offset: message`.
    """

    count: int = 0
    open: int = 0
    first_ms: int = -1
    last_ms: int = -1
    samples: list[str] = field(default_factory=list)

    def add(self, record: KafkaRecord, letter: DeadLetter, samples: int) -> None:
        self.count += 1
        if letter.timestamp_ms >= 0:
            known = self.first_ms if self.first_ms >= 0 else letter.timestamp_ms
            self.first_ms = min(letter.timestamp_ms, known)
            self.last_ms = max(letter.timestamp_ms, self.last_ms)
        if len(self.samples) < samples:
            key = raw_bytes(record.key())[:64].decode(errors="replace")
            name = "".join(char if char.isprintable() else "?" for char in key) or "(no key)"
            where = f"{clipped(letter.topic)}/{letter.partition}/{letter.offset}"
            self.samples.append(f"{name} at {where}: {letter.message}")


def moment(epoch_ms: int) -> str:
    """The time in UTC, to the second; a question mark where it cannot be believed."""
    if not is_believable(epoch_ms * 1_000_000):
        return "?"
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
