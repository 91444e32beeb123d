"""The record of an image on its way to the model."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from wire.clock import format_time, is_believable, kafka_time, parse_time
from wire.record import (
    ContractError,
    KafkaRecord,
    Outgoing,
    StoredRecord,
    first_headers,
    raw_bytes,
)
from wire.reference import MAX_URL
from wire.trace import TRACEPARENT, read_traceparent

_OUR_TYPES = "triton-kafka-bridge.image."
IMAGE_TYPE = f"{_OUR_TYPES}v1"
NDARRAY = "application/x-ndarray"
"""Content type of raw pixels in C order; `ce_dtype` and `ce_shape` give their form."""

SNIFF_BYTES = 12
"""Number of leading bytes that `sniff` looks at."""

MAX_ID = 256
"""Most bytes of an id: it ends up in logs, traces and every prediction."""
MAX_HEADER = 1024
"""Most bytes of any header that is read: by contract headers are small, but a stranger may send
any."""
DATAREF = "ce_dataref"
LETTER_ID = "dlq.id"
"""The header of a dead letter with the id of its image, where the message itself does not contain
it."""
MAX_RANK = 8

_COMMON = (
    "ce_specversion", "ce_source", "ce_type", "ce_runid", "ce_label", "ce_dtype", "ce_shape",
    "content-type",
)  # fmt: skip
"""Headers that are mostly equal for the images of a stream."""
_FIRST = ("dlq.id", "dlq.topic", "dlq.partition", "dlq.offset")
"""Headers of a dead letter with its image's id and original topic, partition and offset."""


class ImageEvent(NamedTuple):
    """The envelope of one image; its pixels stay in the record's value.

    Attributes:
        id: the producer's id, else the record's key, else topic/partition/offset.
        content_type: lower case, without parameters; None: the bytes show it.
        dtype: numpy dtype name of an `application/x-ndarray` value.
        shape: its sizes, outermost dimension first.
        intended_ns: intended time in epoch nanoseconds, 0 to `LATEST_NS`; 0: neither the image nor
            Kafka gives a time that can be believed.
        sent_ns: when it was really sent; like `intended_ns`.
        label: the true class name, where the producer knows it (evaluation runs).
        traceparent: W3C trace context, version 00; None where there is no valid one.
        dataref: URL of the image where the record itself does not contain it (CloudEvents'
            extension).
    """

    id: str
    content_type: str | None
    dtype: str | None
    shape: tuple[int, ...] | None
    intended_ns: int
    sent_ns: int
    source: str | None = None
    run_id: str | None = None
    label: str | None = None
    traceparent: str | None = None
    dataref: str | None = None


def encode_image(
    *,
    id: str,
    value: bytes | None,
    content_type: str,
    source: str,
    intended_ns: int,
    sent_ns: int,
    run_id: str | None = None,
    label: str | None = None,
    dtype: str | None = None,
    shape: Sequence[int] | None = None,
    traceparent: str | None = None,
    dataref: str | None = None,
) -> Outgoing:
    """Build the record of one image.

    Args:
        value: None where a `dataref` gives the image's URL.

    Raises:
        ContractError: an id that no reader would accept, or raw pixels without dtype and shape.
    """
    if not id or len(id.encode()) > MAX_ID:
        raise ContractError(f"an image id has 1 to {MAX_ID} bytes, this one {len(id.encode())}")
    if content_type == NDARRAY and (dtype is None or shape is None):
        raise ContractError(f"{NDARRAY} needs a dtype and a shape")
    headers: list[tuple[str, bytes | None]] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", IMAGE_TYPE.encode()),
        ("ce_time", format_time(intended_ns).encode()),
        ("ce_senttime", format_time(sent_ns).encode()),
        ("content-type", content_type.encode()),
    ]
    optional = (
        ("ce_runid", run_id),
        ("ce_label", label),
        ("ce_dtype", dtype),
        ("ce_shape", None if shape is None else ",".join(map(str, shape))),
        (TRACEPARENT, traceparent),
        (DATAREF, dataref),
    )
    headers += [(name, text.encode()) for name, text in optional if text is not None]
    return Outgoing(id.encode(), value, headers)


def image_id(record: KafkaRecord, headers: dict[str, bytes] | None = None) -> str:
    """The id of an image, whatever state its record is in; never raises, and is always bounded."""
    found = first_headers(record.headers()) if headers is None else headers
    for candidate in (found.get(LETTER_ID), found.get("ce_id"), record.key()):
        raw = raw_bytes(candidate)
        if 0 < len(raw) <= MAX_ID:
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                continue
            if text.isprintable():
                return text
    coordinates = [found.get(name) for name in _FIRST[1:]]
    if all(coordinates):
        parts = (raw_bytes(part)[:MAX_ID].decode(errors="replace") for part in coordinates)
        if (place := "/".join(parts)).isprintable():
            return place
    return f"{record.topic()}/{record.partition()}/{record.offset()}"


def decode_image(record: KafkaRecord) -> ImageEvent:
    """Read the envelope of an image, or of a plain message without CloudEvents headers.

    Raises:
        ContractError: the headers cannot be read, or one is too long, not text, or has no valid
            value.
    """
    if isinstance(record, StoredRecord) and record.unreadable is not None:
        raise ContractError(record.unreadable)
    headers = first_headers(record.headers())
    find = headers.get
    content_type, dtype, shape, source, run_id, label = _common(*map(find, _COMMON))
    raw_id = find("ce_id")
    text_id = "" if raw_id is None else _text("ce_id", raw_id)
    if raw_id is not None and len(raw_id) > MAX_ID:
        raise ContractError(f"ce_id has {len(raw_id)} bytes, {MAX_ID} are allowed")
    intended_ns = _time("ce_time", find("ce_time"))
    sent_ns = _time("ce_senttime", find("ce_senttime"))
    for name in _FIRST:
        if name in headers:
            _text(name, headers[name])
    if not (intended_ns and sent_ns):
        kafka_ns = kafka_time(record)
        intended_ns = intended_ns or kafka_ns
        sent_ns = sent_ns or kafka_ns or intended_ns
    # The same id as from `image_id`, which would read the headers once more.
    plain = text_id and text_id.isprintable() and LETTER_ID not in headers
    named = text_id if plain else image_id(record, headers)
    traceparent, dataref = find(TRACEPARENT), find(DATAREF)
    return ImageEvent(
        named, content_type, dtype, shape, intended_ns, sent_ns, source, run_id, label,
        None if traceparent is None else read_traceparent(traceparent),
        None if dataref is None else _text(DATAREF, dataref, MAX_URL),
    )  # fmt: skip


class _Common(NamedTuple):
    content_type: str | None
    dtype: str | None
    shape: tuple[int, ...] | None
    source: str | None
    run_id: str | None
    label: str | None


@lru_cache(256)  # the images of a stream share them; each header is bounded by MAX_HEADER
def _common(*values: bytes | None) -> _Common:
    """The values of the headers of `_COMMON`."""
    text = {
        name: _text(name, raw) for name, raw in zip(_COMMON, values, strict=True) if raw is not None
    }
    version = text.get("ce_specversion", "1.0")
    if not version.startswith("1."):
        raise ContractError(f"CloudEvents {version[:20]!r} is not known, only 1.x")
    kind = text.get("ce_type", IMAGE_TYPE)
    if kind != IMAGE_TYPE and kind.startswith(_OUR_TYPES):
        raise ContractError(f"ce_type {kind[:80]!r} is newer than this bridge knows: {IMAGE_TYPE}")
    content_type = text.get("content-type")
    return _Common(
        content_type=None if content_type is None else content_type.split(";")[0].strip().lower(),
        dtype=text.get("ce_dtype"),
        shape=_parse_shape(text["ce_shape"]) if "ce_shape" in text else None,
        source=text.get("ce_source"),
        run_id=text.get("ce_runid"),
        label=text.get("ce_label"),
    )


def _text(name: str, raw: bytes, limit: int = MAX_HEADER) -> str:
    if len(raw) > limit:
        raise ContractError(f"header {name} has {len(raw)} bytes, {limit} are allowed")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ContractError(f"header {name} is not UTF-8") from None


def _time(name: str, raw: bytes | None) -> int:
    """Epoch nanoseconds; 0 where the header is missing or cannot be believed: a clock that was
    never set, or a field that was never filled in."""
    if raw is None:
        return 0
    ns = parse_time(_text(name, raw))
    return ns if is_believable(ns) else 0


def _parse_shape(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if len(parts) > MAX_RANK or not all(part.isascii() and part.isdigit() for part in parts):
        raise ContractError(f"ce_shape is not a list of sizes such as 32,32,3: {text[:40]!r}")
    return tuple(int(part) for part in parts)


def sniff(head: bytes) -> str | None:
    """The content type that a file's first bytes show; None: no image that is known here."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"BM"):
        return "image/bmp"
    return None
