"""W3C trace context in a header: https://www.w3.org/TR/trace-context/#traceparent-header."""

import re
from typing import NamedTuple

from wire.record import KafkaRecord, first_headers

TRACEPARENT = "traceparent"

_LENGTH = 55
_MAX_LENGTH = 256
"""Most characters of a traceparent that are looked at. Later versions may append fields, which are
cut off."""
_FORM = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class TraceParent(NamedTuple):
    """The place of a message in a trace.

    Attributes:
        trace_id: 128 bits, not 0.
        span_id: 64 bits, not 0.
        flags: 8 bits; the lowest says that the trace is recorded.
    """

    trace_id: int
    span_id: int
    flags: int

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags:02x}"


def read_traceparent(raw: bytes | None) -> str | None:
    """A stranger's header in the form of version 00; None where it is no valid one.

    An invalid header is ignored, as the standard demands: no image is refused because of it.
    """
    if raw is None or len(raw) > _MAX_LENGTH or _FORM.match(raw) is None:
        return None
    if raw.startswith(b"00"):
        return raw.decode() if len(raw) == _LENGTH else None
    if len(raw) > _LENGTH and raw[_LENGTH : _LENGTH + 1] != b"-":
        return None
    return f"00{raw[2:_LENGTH].decode()}"


def is_sampled(text: str) -> bool:
    """Whether the sender records the trace of a header from `read_traceparent`."""
    return bool(int(text[-2:], 16) & 1)


def parse_traceparent(text: str) -> TraceParent:
    """The parts of a header from `read_traceparent`."""
    _, trace_id, span_id, flags = text.split("-")
    return TraceParent(int(trace_id, 16), int(span_id, 16), int(flags, 16))


def record_traceparent(record: KafkaRecord) -> str | None:
    """The valid `traceparent` of a record, whatever else is in it; None where there is none."""
    headers = first_headers(record.headers())
    return read_traceparent(headers.get(TRACEPARENT))
