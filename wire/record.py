"""The view of a Kafka record that the contract needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes | None]]
"""Kafka headers in order; a name may occur more than once, a value may be null."""


class KafkaRecord(Protocol):
    """A consumed record; `confluent_kafka.Message` is one."""

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
    """A record to be produced: what it says, not where it goes."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A `KafkaRecord` held in memory: for recorded messages and for tests."""

    record_topic: str = "images"
    record_partition: int = 0
    record_offset: int = 0
    record_key: bytes | None = None
    record_value: bytes | None = None
    record_headers: Headers | None = None
    timestamp_ms: int = 0

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


class ContractError(ValueError):
    """A record that breaks the message contract; the text says how, without its raw bytes."""


def first_headers(headers: Headers | None) -> dict[str, bytes]:
    """Map each header name to its first non-null value; later repetitions cannot override it."""
    # From the last to the first: of a name that occurs again, the first is what stays.
    return {name: value for name, value in reversed(headers or ()) if value is not None}


def raw_bytes(part: bytes | str | None) -> bytes:
    """The bytes of a key or a value; a null is empty."""
    if part is None:
        return b""
    return part.encode() if isinstance(part, str) else part
