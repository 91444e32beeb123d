"""A dead letter: an image that can never succeed, kept whole with the reason."""

from typing import NamedTuple

from wire.image import LETTER_ID
from wire.record import KafkaRecord, Outgoing, first_headers, raw_bytes
from wire.trace import TRACEPARENT

MAX_MESSAGE = 512
"""Most characters of an error text in a header: it may quote a stranger's message."""

MAX_DIGITS = 19
"""Most digits of a number in a dead letter's headers: as many as 64 bits have."""

INTERNAL = "internal"
"""The error class of an image that caused an error which no rule foresees."""

EXPIRED = "expired"
"""The error class of an image that was too old to be worked on: nothing is wrong with it."""

PREFIX = "dlq."
OMITTED = "dlq.value.omitted"
"""The header of a dead letter whose image was too large to be kept in it. Its value is the size of
the image in bytes."""
OMITTED_HEADERS = "dlq.headers.omitted"
"""The header of a dead letter that lacks some or all of the image's headers. Its value is the
number of headers that are left out."""
OMITTED_KEY = "dlq.key.omitted"
"""The header of a dead letter without the image's key. Its value is the key's size in bytes."""
_MARKS = (OMITTED, OMITTED_HEADERS, OMITTED_KEY)

_NAMING = ("ce_id", "ce_runid", TRACEPARENT)
"""Headers by which readers find the image; they are left out last."""
_MAX_NAMING = 256
"""Most bytes of such a header for it to be kept longer than the others."""
_SHORT_MESSAGE = 64
"""Most bytes of the error text in the smallest dead letter."""


class DeadLetter(NamedTuple):
    """Why an image was dead-lettered, and where it was.

    Attributes:
        stage: contract, fetch, decode, infer, publish.
        error_class: a short, fixed name, safe as a metric label.
        message: one line for people.
        attempts: number of times that it was tried.
        timestamp_ms: when it was dead-lettered; epoch milliseconds.
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
    """The text made printable, on one line, with at most `MAX_MESSAGE` characters."""
    clean = "".join(char if char.isprintable() else " " for char in text[: 4 * MAX_MESSAGE])
    return " ".join(clean.split())[:MAX_MESSAGE]


def encode_dead_letter(
    record: KafkaRecord,
    letter: DeadLetter,
    traceparent: str | None = None,
    id: str | None = None,
) -> Outgoing:
    """The original key, value and headers, followed by the reason; it replaces an earlier reason.

    Args:
        id: the image's id, where the message itself does not contain it.
        traceparent: replaces the image's own, where the trace goes on from here.
    """
    original = restored(record)
    headers = original.headers
    if traceparent is not None:
        headers = [one for one in headers if one[0] != TRACEPARENT]
        headers.append((TRACEPARENT, traceparent.encode()))
    reason = [
        ("dlq.error.stage", letter.stage),
        ("dlq.error.class", letter.error_class),
        ("dlq.error.message", one_line(letter.message)),
        ("dlq.topic", letter.topic),
        ("dlq.partition", str(letter.partition)),
        ("dlq.offset", str(letter.offset)),
        ("dlq.attempts", str(letter.attempts)),
        ("dlq.timestamp", str(letter.timestamp_ms)),
    ]
    if id is not None:
        reason.append((LETTER_ID, id))
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
    """Read the reason; missing parts are empty or -1, so that any record can be listed."""
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
    """The number, or -1 where the text is none that fits: strangers can write dead letters, too."""
    if text is None or len(text) > MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return -1
    number = int(text)
    return number if number < limit else -1


def without_value(record: Outgoing) -> Outgoing | None:
    """The dead letter with its value replaced by the value's size; None if it has no value."""
    if record.value is None or not any(name == "dlq.topic" for name, _ in record.headers):
        return None
    size = str(len(record.value)).encode()
    return Outgoing(record.key, None, [*record.headers, (OMITTED, size)])


def smaller_letter(letter: Outgoing) -> Outgoing | None:
    """The dead letter with less of its image; None where nothing is left to remove.

    First it loses the value, then the headers that do not name the image, then the key, and then
    the other names and most of the error text. The image's topic, partition and offset and the
    error's class always stay: the original can be found by them.
    """
    if letter.value:
        return without_value(letter)
    foreign = [one for one in letter.headers if not one[0].startswith(PREFIX)]
    naming = [one for one in foreign if one[0] in _NAMING and len(one[1] or b"") <= _MAX_NAMING]
    naming = naming[: len(_NAMING)]
    if len(naming) < len(foreign):
        return letter._replace(headers=_without_headers(letter, naming))
    if letter.key:
        size = str(len(letter.key)).encode()
        return Outgoing(None, letter.value, [*letter.headers, (OMITTED_KEY, size)])
    headers = [
        (name, text[:_SHORT_MESSAGE].decode(errors="ignore").encode())
        if name == "dlq.error.message" and text is not None
        else (name, text)
        for name, text in _without_headers(letter, [])
    ]
    return None if headers == letter.headers else letter._replace(headers=headers)


def _without_headers(
    letter: Outgoing, kept: list[tuple[str, bytes | None]]
) -> list[tuple[str, bytes | None]]:
    """The dead letter's headers, with only `kept` of the image's, and how many are left out."""
    reasons = [one for one in letter.headers if one[0].startswith(PREFIX)]
    left_out = len(letter.headers) - len(reasons) - len(kept)
    if not left_out:
        return letter.headers
    left_out += sum(int(text or b"0") for name, text in reasons if name == OMITTED_HEADERS)
    reasons = [one for one in reasons if one[0] != OMITTED_HEADERS]
    return [*kept, *reasons, (OMITTED_HEADERS, str(left_out).encode())]


def is_omitted(record: KafkaRecord) -> bool:
    """Whether a part of the image was too large to be kept in the dead letter."""
    return any(name in _MARKS for name, _ in record.headers() or ())
