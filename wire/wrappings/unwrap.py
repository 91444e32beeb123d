"""Finds out which wrapping a record is in, and takes out the image."""

from dataclasses import dataclass
from typing import Literal

from wire.image import NDARRAY, ImageEvent, decode_image
from wire.record import KafkaRecord, StoredRecord, raw_bytes
from wire.wrappings.bounds import WrappingError
from wire.wrappings.cloudevents import BATCH, STRUCTURED, unwrap_event
from wire.wrappings.json_field import unwrap_field
from wire.wrappings.kserve import Pixels, unwrap_request
from wire.wrappings.text import TEXT_TYPES, unwrap_text

ValueFormat = Literal["auto", "image", "cloudevents", "json", "base64", "kserve"]

MAX_BYTES = 16 << 20
"""Most bytes of an image, for readers that have no setting for it."""

_BY_TYPE: dict[str, ValueFormat] = {
    STRUCTURED: "cloudevents",
    BATCH: "cloudevents",
    **dict.fromkeys(TEXT_TYPES, "base64"),
}
_JSON_STARTS = (b"{", b"[")
_TEXT_STARTS = (b"data:", b"iVBORw0KGg", b"/9j/", b"UklGR", b"Qk")
"""First bytes of a data URI, and of the base64 of a PNG, JPEG, WebP and BMP."""


@dataclass(frozen=True, slots=True)
class Wrapping:
    """How values carry their images.

    Attributes:
        format: auto: the content type decides; otherwise the form of every value.
        field: path of the image in JSON; with `auto`, in values that are JSON.
        max_bytes: most bytes of the image inside.
    """

    format: ValueFormat = "auto"
    field: str = ""
    max_bytes: int = MAX_BYTES

    def of(self, content_type: str | None, value: bytes) -> ValueFormat:
        """The form of a value; never `auto`."""
        if self.format != "auto":
            return self.format
        if content_type is None:
            return "json" if self.field and looks_like_json(value) else "image"
        found = _BY_TYPE.get(content_type)
        if found is not None:
            return found
        if self.field and (content_type == "application/json" or content_type.endswith("+json")):
            return "json"
        return "image"

    def extra_bytes(self, value: bytes) -> int:
        """Most bytes of memory that the image inside needs in addition to this value; 0: it is not
        wrapped."""
        wrapped = self.format not in ("auto", "image") or value[:1] in _ASCII_STARTS
        return len(value) * 3 // 4 if wrapped and self.format != "image" else 0


_ASCII_STARTS = frozenset(bytes([one]) for one in b"{[ \t\r\n/dDiQUA")
"""First bytes of JSON, a data URI and base64; no encoded image begins like that."""


def read_image(
    record: KafkaRecord,
    wrapping: Wrapping = Wrapping(),
) -> tuple[ImageEvent, bytes]:
    """The envelope of an image and its bytes, whatever it is wrapped in.

    Raises:
        ContractError: as for `decode_image`.
        WrappingError: no image can be taken out; it is a ContractError, too.
    """
    event = decode_image(record)
    value = raw_bytes(record.value())
    form = wrapping.of(event.content_type, value)
    if form == "image":
        return event, value
    return _unwrap(record, event, value, form, wrapping)


def _unwrap(
    record: KafkaRecord, event: ImageEvent, value: bytes, form: ValueFormat, wrapping: Wrapping
) -> tuple[ImageEvent, bytes]:
    limit = wrapping.max_bytes
    if form == "cloudevents":
        if event.content_type == BATCH:
            raise WrappingError(f"{BATCH}: a record must be one event ({STRUCTURED}), not a batch")
        inner: StoredRecord = unwrap_event(record, limit)
        return decode_image(inner), raw_bytes(inner.value())
    # The content type was that of the wrapping; the bytes of the image show its own.
    event = event._replace(content_type=None)
    if form == "base64":
        return event, unwrap_text(value, limit)
    if form == "json":
        return event, unwrap_field(value, wrapping.field, limit)
    found = unwrap_request(value, limit)
    if isinstance(found, Pixels):
        return event._replace(content_type=NDARRAY, dtype="uint8", shape=found.shape), found.value
    return event, found


def looks_like_json(value: bytes) -> bool:
    """Whether a value is likely to be JSON, by how it begins."""
    head = value[:1]
    if head.isspace():
        head = value[:64].lstrip()[:1]
    return head in _JSON_STARTS


def hint(value: bytes) -> str:
    """The setting that would read a value that is no image, for the error text; empty: none."""
    if looks_like_json(value):
        return (
            "; it looks like JSON: --image-field NAME reads an image in a field of it, "
            "--value-format kserve an inference request, --value-format cloudevents (or the "
            f"content type {STRUCTURED}) a structured event"
        )
    if value.startswith(_TEXT_STARTS):
        return "; it looks like base64: --value-format base64 (or the content type text/plain)"
    return ""
