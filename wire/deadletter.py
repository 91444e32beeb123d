"""An image that can never succeed, kept whole with the reason."""

from typing import NamedTuple

from wire.record import KafkaRecord, Outgoing, first_headers, raw_bytes
from wire.trace import TRACEPARENT

MAX_MESSAGE = 512
"""Characters of an error text in a header: it may quote what a stranger sent."""

MAX_DIGITS = 19
"""Of a number that a letter says: as many as 64 bits have."""

PREFIX = "dlq."
OMITTED = "dlq.value.omitted"
"""Marks a letter whose image was too large to be kept with it; its value is the image's size."""


class DeadLetter(NamedTuple):
    """Why an image was set aside, and where it was.

    Attributes:
        stage: contract, decode, shape, infer.
        error_class: a short, fixed name, safe as a metric label.
        message: one line for a person.
        attempts: how often it was tried.
        timestamp_ms: when it was set aside; epoch milliseconds.
    """

    stage: str
    error_class: str
    message: str
    topic: str
    partition: int
    offset: int
    attempts: int
    timestamp_ms: int


def one_line(text: str) -> str:
    """Printable, on one line, at most `MAX_MESSAGE` characters."""
    clean = "".join(char if char.isprintable() else " " for char in text[: 4 * MAX_MESSAGE])
    return " ".join(clean.split())[:MAX_MESSAGE]


def encode_dead_letter(
    record: KafkaRecord, letter: DeadLetter, traceparent: str | None = None
) -> Outgoing:
    """The original key, value and headers, then why; an earlier reason is replaced.

    Args:
        traceparent: replaces the image's own, where the trace goes on from here.
    """
    original = restored(record)
    headers = original.headers
    if traceparent is not None:
        headers = [one for one in headers if one[0] != TRACEPARENT]
        headers.append((TRACEPARENT, traceparent.encode()))
    reason = (
        ("dlq.error.stage", letter.stage),
        ("dlq.error.class", letter.error_class),
        ("dlq.error.message", one_line(letter.message)),
        ("dlq.topic", letter.topic),
        ("dlq.partition", str(letter.partition)),
        ("dlq.offset", str(letter.offset)),
        ("dlq.attempts", str(letter.attempts)),
        ("dlq.timestamp", str(letter.timestamp_ms)),
    )
    reasons = ((name, text.encode()) for name, text in reason)
    return original._replace(headers=[*headers, *reasons])


def restored(record: KafkaRecord) -> Outgoing:
    """The message as it first arrived: its key, value and headers, without a reason."""
    headers = [(name, text) for name, text in record.headers() or () if not name.startswith(PREFIX)]
    key, value = record.key(), record.value()
    return Outgoing(
        None if key is None else raw_bytes(key),
        None if value is None else raw_bytes(value),
        headers,
    )


def decode_dead_letter(record: KafkaRecord) -> DeadLetter:
    """Read the reason; what is not there is empty or -1, so that any record can be listed."""
    found = {
        name: raw[: 4 * MAX_MESSAGE].decode(errors="replace")
        for name, raw in first_headers(record.headers()).items()
        if name.startswith(PREFIX)
    }
    return DeadLetter(
        stage=found.get("dlq.error.stage", ""),
        error_class=found.get("dlq.error.class", ""),
        message=one_line(found.get("dlq.error.message", "")),
        topic=found.get("dlq.topic", ""),
        partition=_number(found.get("dlq.partition"), 1 << 31),
        offset=_number(found.get("dlq.offset")),
        attempts=_number(found.get("dlq.attempts")),
        timestamp_ms=_number(found.get("dlq.timestamp")),
    )


def _number(text: str | None, limit: int = 1 << 63) -> int:
    """-1 where it is none, or none that fits the field: a stranger can write a letter, too."""
    if text is None or len(text) > MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return -1
    number = int(text)
    return number if number < limit else -1


def without_value(record: Outgoing) -> Outgoing | None:
    """The dead letter with its value replaced by the value's size; None if it has none to lose."""
    if record.value is None or not any(name == "dlq.topic" for name, _ in record.headers):
        return None
    size = str(len(record.value)).encode()
    return Outgoing(record.key, None, [*record.headers, (OMITTED, size)])


def is_omitted(record: KafkaRecord) -> bool:
    """Whether the image itself was too large to be kept in the letter."""
    return any(name == OMITTED for name, _ in record.headers() or ())
