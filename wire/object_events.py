"""The objects that a message refers to, in the forms that object stores publish.

These are read as JSON: notifications of Amazon S3 and of stores that speak its protocol
(`Records`), S3's events by EventBridge, object resources of Google Cloud Storage, CloudEvents with
a `dataref`, and a given field of any message.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

import orjson

from wire.clock import is_believable, parse_time
from wire.image import MAX_ID
from wire.record import ContractError
from wire.reference import BadReferenceError, Reference, make_reference, parse_reference

MAX_MESSAGE_BYTES = 1 << 20
"""Most bytes of a message that is searched for references."""
MAX_OBJECTS = 1000
"""Most objects that one message may refer to."""

_JSON_STARTS = b"{ \t\r\n\xef"
"""First bytes of a JSON object: no encoded image begins with one of them."""
_FINALIZED = ("OBJECT_FINALIZE", "google.cloud.storage.object.v1.finalized")
"""Google Cloud Storage's names for the event of a created object: in Pub/Sub's attributes, and as
the type of a CloudEvent."""
_GOOGLE_TYPES = ("eventType", "ce_type")
"""Headers that hold the name of the event."""

Json = Mapping[str, Any]


class Named(NamedTuple):
    """One object that a message refers to.

    Attributes:
        reference: the object, or the error why there is none.
        id: the image's id; None: the message's own.
        intended_ns: when the object was created, epoch nanoseconds; 0: the message's own time.
        message: a message that refers to this object alone; None: the original is one.
    """

    reference: Reference | BadReferenceError
    id: str | None = None
    intended_ns: int = 0
    message: bytes | None = None


def may_refer(value: bytes) -> bool:
    """Whether `find_objects` should look at a value. A cheap test; if wrong, it only costs work."""
    return value[:1] in _JSON_STARTS and bool(value)


def find_objects(value: bytes, headers: Mapping[str, bytes], field: str = "") -> list[Named] | None:
    """The objects that a message refers to.

    Args:
        headers: the record's headers, by name.
        field: path of the field that holds a URL, such as image.url or /image/url; empty: none.

    Returns:
        None: the message does not refer to objects. An empty list: it is about objects, but none
        was created, as in a store's test message or at the removal of an object.
    """
    if len(value) > MAX_MESSAGE_BYTES:
        return None
    try:
        body = orjson.loads(value.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict):
        return None
    if field and (found := _at(body, field)) is not None:
        if not isinstance(found, str):
            problem = f"the field {field} is not text: {str(found)[:80]!r}"
            return [Named(BadReferenceError("reference", problem))]
        return [_parsed(found)]
    return _event(body, headers)


def _event(body: Json, headers: Mapping[str, bytes]) -> list[Named] | None:
    if isinstance(body.get("Records"), list):
        return _notification(body)
    if body.get("Event") == "s3:TestEvent":
        return []
    if body.get("source") == "aws.s3" and isinstance(body.get("detail"), dict):
        return _event_bridge(body)
    if isinstance(body.get("specversion"), str):
        return _cloud_event(body, headers)
    if body.get("kind") == "storage#object":
        kinds = [headers[name] for name in _GOOGLE_TYPES if name in headers]
        return _google(body, kinds[0].decode(errors="replace") if kinds else "")
    return None


def _cloud_event(body: Json, headers: Mapping[str, bytes]) -> list[Named] | None:
    data = body.get("data")
    if data is None and isinstance(body.get("dataref"), str):
        made = _parsed(body["dataref"])
        own = body.get("id")
        return [made._replace(id=_bounded(own) if isinstance(own, str) else None,
                              intended_ns=_time(body.get("time")))]  # fmt: skip
    kind = body.get("type")
    if isinstance(data, dict) and isinstance(kind, str):
        if kind.startswith("google.cloud.storage.object.v1."):
            return _google(data, kind)
        return _event(data, headers)
    return None


def _parsed(url: str) -> Named:
    try:
        return Named(parse_reference(url))
    except BadReferenceError as error:
        return Named(error)


def _notification(body: Json) -> list[Named] | None:
    records = body["Records"]
    if not all(isinstance(one, dict) and isinstance(one.get("s3"), dict) for one in records):
        return None
    created = [
        one
        for one in records
        if _was_created(one.get("eventName")) and not _is_folder(_part(one["s3"], "object"))
    ]
    if len(created) > MAX_OBJECTS:
        problem = f"{len(created):,} objects in one message, {MAX_OBJECTS:,} are allowed"
        return [Named(BadReferenceError("reference", problem))]
    found = [_of_record(one) for one in created]
    if len(records) > 1:
        # Nothing else of the body: a large field beside the records would be repeated for each.
        found = [
            named._replace(message=orjson.dumps({"Records": [record]}))
            for named, record in zip(found, created, strict=True)
        ]
    return found


def _was_created(name: object) -> bool:
    return isinstance(name, str) and name.removeprefix("s3:").startswith("ObjectCreated:")


def _is_folder(item: Json) -> bool:
    """Whether an item is the empty object by which consoles represent an empty folder."""
    key = item.get("key", item.get("name"))
    return isinstance(key, str) and key.endswith("/") and _number(item.get("size")) in (0, None)


def _of_record(record: Json) -> Named:
    at, item = _part(record["s3"], "bucket"), _part(record["s3"], "object")
    return _made(
        "s3",
        at.get("name"),
        _unplus(item.get("key")),  # it is encoded like a form
        item.get("versionId"),
        item.get("eTag"),
        item.get("size"),
        record.get("eventTime"),
    )


def _event_bridge(body: Json) -> list[Named]:
    if body.get("detail-type") != "Object Created":
        return []
    at, item = _part(body["detail"], "bucket"), _part(body["detail"], "object")
    if _is_folder(item):
        return []
    return [
        _made(
            "s3", at.get("name"), item.get("key"), item.get("version-id"), item.get("etag"),
            item.get("size"), body.get("time"),
        )
    ]  # fmt: skip


def _google(item: Json, kind: str) -> list[Named]:
    if (kind and kind not in _FINALIZED) or "timeDeleted" in item or _is_folder(item):
        return []
    # Its etag is that of the resource, not of the content; the generation is enough.
    return [
        _made(
            "gs", item.get("bucket"), item.get("name"), item.get("generation"), None,
            item.get("size"), item.get("timeCreated"),
        )
    ]  # fmt: skip


def _made(
    scheme: str,
    bucket: object,
    key: object,
    version: object,
    etag: object,
    size: object,
    at: object,
) -> Named:
    if not (isinstance(bucket, str) and isinstance(key, str)):
        return Named(BadReferenceError("reference", "an event without a bucket and a key"))
    try:
        reference = make_reference(
            scheme, bucket, key,
            version=str(version) if isinstance(version, str | int) else None,
            etag=etag if isinstance(etag, str) else None,
            size=_number(size),
        )  # fmt: skip
    except BadReferenceError as error:
        return Named(error, _bounded(f"{scheme}://{bucket}/{key}"), _time(at))
    return Named(reference, _bounded(reference.url), _time(at))


def _part(body: Json, name: str) -> Json:
    part = body.get(name)
    return part if isinstance(part, dict) else {}


def _unplus(key: object) -> object:
    if not isinstance(key, str):
        return key
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        return None


def _number(size: object) -> int | None:
    if isinstance(size, str) and len(size) < 20 and size.isascii() and size.isdigit():
        size = int(size)
    return size if isinstance(size, int) and size >= 0 else None


def _time(text: object) -> int:
    try:
        ns = parse_time(text) if isinstance(text, str) and len(text) <= 64 else 0
    except ContractError:
        return 0
    return ns if is_believable(ns) else 0


def _bounded(name: str) -> str | None:
    """An id of at most `MAX_ID` bytes, the end of a longer name; None where nothing is left."""
    clean = "".join(char for char in name if char.isprintable())
    return clean.encode(errors="ignore")[-MAX_ID:].decode(errors="ignore") or None


def _at(body: Json, path: str) -> object:
    """The value at a path: with dots, or, with a leading slash, as a JSON pointer (RFC 6901)."""
    if path.startswith("/"):
        names = [one.replace("~1", "/").replace("~0", "~") for one in path[1:].split("/")]
    else:
        names = path.split(".")
    found: object = body
    for name in names:
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and name.isascii() and name.isdigit() and len(name) < 9:
            found = found[int(name)] if int(name) < len(found) else None
        else:
            return None
    return found
