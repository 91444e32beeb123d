"""A producer of one record at a time that sends what librdkafka would refuse, byte for byte.

Kafka's protocol by hand: a Produce request of version 7 with a record batch of version 2
(https://kafka.apache.org/protocol, https://kafka.apache.org/documentation/#recordbatch).
"""

import socket
import struct
import time
from collections.abc import Iterable, Sequence

RawHeaders = Sequence[tuple[bytes, bytes | None]]

NO_LEADER_YET = (3, 5, 6)
"""Errors of a topic that was created a moment ago."""

_POLYNOMIAL = 0x82F63B78
"""Of CRC-32C, bits reversed."""


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def _crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _varint(number: int) -> bytes:
    number = number << 1 ^ number >> 63
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _nullable(part: bytes | None) -> bytes:
    return _varint(-1) if part is None else _varint(len(part)) + part


def encode_record(
    key: bytes | None, value: bytes | None, headers: RawHeaders = (), *, place: int = 0
) -> bytes:
    """A record as a batch holds it; `place`: its index in the batch."""
    record = b"\0" + _varint(0) + _varint(place) + _nullable(key) + _nullable(value)
    record += _varint(len(headers))
    for name, text in headers:
        record += _varint(len(name)) + name + _nullable(text)
    return _varint(len(record)) + record


def _batch(content: bytes, count: int, codec: int, timestamp_ms: int) -> bytes:
    last = count - 1
    body = struct.pack(">hiqqqhii", codec, last, timestamp_ms, timestamp_ms, -1, -1, -1, count)
    checked = struct.pack(">ibI", -1, 2, _crc32c(body + content)) + body + content
    return struct.pack(">qi", 0, len(checked)) + checked


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def send_raw(
    bootstrap: str,
    topic: str,
    records: Iterable[tuple[bytes | None, bytes | None, RawHeaders]],
    *,
    partition: int = 0,
    timestamp_ms: int = 1_700_000_000_000,
) -> None:
    """Send records (key, value, headers) to a partition of the only broker, each acknowledged."""
    batches = (_batch(encode_record(*record), 1, 0, timestamp_ms) for record in records)
    _send(bootstrap, topic, partition, batches)


def send_batch(
    bootstrap: str, topic: str, content: bytes, *, count: int, codec: int, partition: int = 0
) -> None:
    """Send one batch of `count` records that are compressed already: 1 is gzip, 4 is zstd."""
    batch = _batch(content, count, codec, time.time_ns() // 1_000_000)
    _send(bootstrap, topic, partition, [batch])


def _send(bootstrap: str, topic: str, partition: int, batches: Iterable[bytes]) -> None:
    host, port = bootstrap.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as link:
        for number, batch in enumerate(batches):
            request = struct.pack(">hhi", 0, 7, number) + _string("raw")
            request += struct.pack(">hhii", -1, -1, 30_000, 1) + _string(topic)
            request += struct.pack(">iii", 1, partition, len(batch)) + batch
            deadline = time.monotonic() + 30
            while (error := _ask(link, request, topic)) in NO_LEADER_YET:
                assert time.monotonic() < deadline, f"topic {topic} gets no leader"
            assert error == 0, f"the broker refused the record: error {error}"


def _ask(link: socket.socket, request: bytes, topic: str) -> int:
    """The error of the partition that was written to; 0: none."""
    link.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _read(link, 4))
    # Behind the correlation id, one topic of this name, one partition: its number and its error.
    error: int = struct.unpack_from(">ih", _read(link, size), 4 + 4 + 2 + len(topic) + 4)[1]
    return error


def _read(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = link.recv(size - len(data))
        assert piece, "the broker closed the connection"
        data += piece
    return data
