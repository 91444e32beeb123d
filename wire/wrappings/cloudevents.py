"""CloudEvents 1.0 in structured mode: the whole event is JSON, the image in `data_base64`."""

from typing import Any

from wire.record import KafkaRecord, StoredRecord, raw_bytes
from wire.wrappings.bounds import MAX_ITEMS, WrappingError, parse_object, text_bytes
from wire.wrappings.text import text_of, unwrap_text

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_WHAT = "a structured CloudEvent"
_DATA = ("data", "data_base64")


class NoDataError(WrappingError):
    """A structured event that does not carry an image; it may refer to one."""


def unwrap_event(record: KafkaRecord, max_bytes: int) -> StoredRecord:
    """The same event in binary mode: attributes as headers `ce_*`, the image as the value.

    Other headers of the record stay; an attribute of the event wins over a header of its name.

    Raises:
        NoDataError: it has no data in base64.
        WrappingError: this is no such event, or its image is too large.
    """
    body = parse_object(raw_bytes(record.value()), _WHAT, text_bytes(max_bytes), MAX_ITEMS)
    if "specversion" not in body:
        raise WrappingError(f"not {_WHAT}: it has no specversion")
    if "data_base64" not in body:
        also = ", not in data" if "data" in body else ""
        raise NoDataError(f"{_WHAT} must carry its image in data_base64{also}")
    what = f"data_base64 of {_WHAT}"
    value = unwrap_text(text_of(body["data_base64"], what), max_bytes, what)
    outer = [one for one in record.headers() or () if one[0] != "content-type"]
    return StoredRecord(
        record.topic() or "",
        record.partition() or 0,
        record.offset() or 0,
        None if record.key() is None else raw_bytes(record.key()),
        value,
        [*_attributes(body), *outer],
        record.timestamp()[1],
    )


def _attributes(body: dict[str, Any]) -> list[tuple[str, bytes]]:
    """The attributes as headers; an attribute is text, a number or a boolean, others are
    ignored."""
    headers = []
    for name, found in body.items():
        if name in _DATA or not isinstance(found, str | int):
            continue
        text = str(found).lower() if isinstance(found, bool) else str(found)
        header = "content-type" if name == "datacontenttype" else f"ce_{name}"
        headers.append((header, text.encode()))
        if name == "traceparent":  # the distributed tracing extension
            headers.append((name, text.encode()))
    return headers
