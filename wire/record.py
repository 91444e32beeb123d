"""What the message contract needs of a Kafka record."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes | None]]
"""Kafka headers in order; a name may occur more than once, a value may be null."""


class KafkaRecord(Protocol):
    """A consumed record, such as `confluent_kafka.Message`; only `read_record` may read that
    one."""

    def topic(self) -> str | None: ...
    def partition(self) -> int | None: ...
    def offset(self) -> int | None: ...
    def key(self) -> bytes | str | None: ...
    def value(self) -> bytes | str | None: ...
    def headers(self) -> Any:
        """`Headers`, or None where there are none."""
        ...

    def timestamp(self) -> tuple[int, int]:
        """(type, milliseconds since the epoch); type 0 means that there is none."""
        ...


class Outgoing(NamedTuple):
    """The content of a record that will be produced, without its topic."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


RECORD_OVERHEAD = 512
"""Bytes of memory that a record in flight takes in addition to its key, value and headers."""
HEADER_OVERHEAD = 176
"""Bytes that a header takes in addition to its name and value: a pair of two objects, and its place
in the list."""
CHARACTER = 4
"""Most bytes that a character of a name takes."""


@dataclass(slots=True)
class StoredRecord:
    """A `KafkaRecord` held in memory; it can be read any number of times.

    Attributes:
        unreadable: why its headers cannot be read, so that it seems to have none; None: they can
            be.
    """

    record_topic: str = "images"
    record_partition: int = 0
    record_offset: int = 0
    record_key: bytes | None = None
    record_value: bytes | None = None
    record_headers: Headers | None = None
    timestamp_ms: int = 0
    unreadable: str | None = None

    @property
    def size(self) -> int:
        """Bytes of memory that it takes; for many small headers, most of that is overhead."""
        size = RECORD_OVERHEAD + len(self.record_key or b"") + len(self.record_value or b"")
        if (headers := self.record_headers) is not None:
            size += HEADER_OVERHEAD * len(headers)
            for name, value in headers:  # runs for each image, so it only adds lengths
                size += CHARACTER * len(name)
                if value is not None:
                    size += len(value)
        return size

    def topic(self) -> str:
        return self.record_topic

    def partition(self) -> int:
        return self.record_partition

    def offset(self) -> int:
        return self.record_offset

    def key(self) -> bytes | None:
        return self.record_key

    def value(self) -> bytes | None:
        return self.record_value

    def headers(self) -> Headers | None:
        return self.record_headers

    def timestamp(self) -> tuple[int, int]:
        return (1 if self.timestamp_ms else 0, self.timestamp_ms)


_headers = methodcaller("headers")
# Not `message.headers()`: the interpreter specialises that call and then does not check it, so that
# it returns a broken list, and the client's exception is raised at some later call.


def read_record(message: KafkaRecord) -> StoredRecord:
    """Read all of a record from Kafka's client. No other code may read it; this never fails.

    Headers are asked for only once: the client raises at a name that is not UTF-8 (C and Go
    programs can send one), and the list that it returns at a second call crashes the process.
    """
    headers: Headers | None = None
    unreadable = None
    try:
        headers = _headers(message)
    except MemoryError:
        raise
    except Exception as error:
        reason = str(error.__cause__ or error)[:200]
        unreadable = f"its headers cannot be read, a name that is not UTF-8? ({reason})"
    key, value = message.key(), message.value()
    return StoredRecord(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        key.encode() if isinstance(key, str) else key,
        value.encode() if isinstance(value, str) else value,
        headers,
        message.timestamp()[1],
        unreadable,
    )


class ContractError(ValueError):
    """A record that breaks the message contract; the text says how, without its raw bytes."""


def first_headers(headers: Headers | None) -> dict[str, bytes]:
    """Map each header name to its first non-null value; later repetitions cannot override it."""
    # From the last to the first, so that the first of several equal names stays.
    return {name: value for name, value in reversed(headers or ()) if value is not None}


def raw_bytes(part: bytes | str | None) -> bytes:
    """The bytes of a key or a value; null gives empty bytes."""
    if part is None:
        return b""
    return part.encode() if isinstance(part, str) else part
