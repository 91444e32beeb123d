"""The messages that object stores publish, and what each refers to."""

from typing import Any

import orjson
import pytest

from wire.object_events import MAX_OBJECTS, Named, find_objects, may_refer
from wire.reference import BadReferenceError, Reference

CREATED_AT = "2026-01-31T12:00:00.000Z"
CREATED_NS = 1_769_860_800_000_000_000


def s3_record(key: str, name: str = "ObjectCreated:Put", **item: Any) -> dict[str, Any]:
    """An event record of S3 as Amazon documents it (event version 2.3)."""
    return {
        "eventVersion": "2.3",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": CREATED_AT,
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "photos", "arn": "arn:aws:s3:::photos"},
            "object": {"key": key, "size": 1024, "eTag": "d41d8cd9", "sequencer": "00", **item},
        },
    }


def find(body: Any, field: str = "", **headers: bytes) -> list[Named] | None:
    return find_objects(orjson.dumps(body), headers, field)


def only(found: list[Named] | None) -> Named:
    assert found is not None
    (named,) = found
    return named


def test_a_notification_of_s3() -> None:
    named = only(find({"Records": [s3_record("2026/a+b%2B%C3%BC.jpg", versionId="v7")]}))
    assert named.reference == Reference("s3", "photos", "2026/a b+ü.jpg", "v7", "d41d8cd9", 1024)
    assert named.id == "s3://photos/2026/a b+ü.jpg"
    assert named.intended_ns == CREATED_NS
    assert named.message is None


def test_a_notification_of_minio() -> None:
    record = s3_record(
        "a.jpg", "s3:ObjectCreated:CompleteMultipartUpload", contentType="image/jpeg"
    )
    body = {"EventName": "s3:ObjectCreated:Put", "Key": "photos/a.jpg", "Records": [record]}
    assert only(find(body)).reference == Reference("s3", "photos", "a.jpg", None, "d41d8cd9", 1024)


def test_a_notification_of_several_objects_is_taken_apart() -> None:
    found = find(
        {"Records": [s3_record("a"), s3_record("b", "ObjectRemoved:Delete"), s3_record("c")]}
    )
    assert found is not None
    assert [named.id for named in found] == ["s3://photos/a", "s3://photos/c"]
    for named in found:
        assert named.message is not None
        alone = only(find_objects(named.message, {}))
        assert (alone.reference, alone.id) == (named.reference, named.id)


def test_what_is_beside_the_objects_is_not_repeated_for_each() -> None:
    body = {"Records": [s3_record(str(n)) for n in range(MAX_OBJECTS)], "more": "x" * 100_000}
    found = find(body)
    assert found is not None
    assert len(found) == MAX_OBJECTS
    assert sum(len(named.message or b"") for named in found) < len(orjson.dumps(body)) + 20_000


def test_one_object_that_cannot_be_read_does_not_hide_the_others() -> None:
    broken = s3_record("b")
    del broken["s3"]["bucket"]
    found = find({"Records": [s3_record("a"), broken, s3_record("../c")]})
    assert found is not None
    assert isinstance(found[0].reference, Reference)
    assert isinstance(found[1].reference, BadReferenceError)
    assert isinstance(found[2].reference, BadReferenceError)
    assert found[2].id == "s3://photos/../c"


def test_an_event_of_event_bridge() -> None:
    body = {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": CREATED_AT,
        "detail": {
            "bucket": {"name": "photos"},
            "object": {"key": "a+b.jpg", "size": 5, "etag": "b1946ac9", "version-id": "IYV3"},
        },
    }
    assert only(find(body)).reference == Reference("s3", "photos", "a+b.jpg", "IYV3", "b1946ac9", 5)
    assert find({**body, "detail-type": "Object Deleted"}) == []


GOOGLE = {
    "kind": "storage#object",
    "name": "2026/a b.jpg",
    "bucket": "photos",
    "generation": "1769860800000000",
    "size": "1024",
    "etag": "CJj+/7nL5ZIDEAE=",
    "timeCreated": CREATED_AT,
}


def test_an_object_resource_of_google_cloud_storage() -> None:
    named = only(find(GOOGLE, eventType=b"OBJECT_FINALIZE"))
    expected = Reference("gs", "photos", "2026/a b.jpg", "1769860800000000", None, 1024)
    assert named.reference == expected
    assert only(find(GOOGLE, ce_type=b"google.cloud.storage.object.v1.finalized")).id == named.id
    assert only(find(GOOGLE)).reference == expected
    assert find(GOOGLE, eventType=b"OBJECT_DELETE") == []
    assert find(GOOGLE, ce_type=b"google.cloud.storage.object.v1.deleted") == []
    assert find({**GOOGLE, "timeDeleted": CREATED_AT}) == []


def test_a_structured_cloud_event() -> None:
    event = {"specversion": "1.0", "type": "camera.image", "source": "/c", "id": "7"}
    named = only(find({**event, "dataref": "s3://photos/a.png", "time": CREATED_AT}))
    assert named == Named(Reference("s3", "photos", "a.png"), "7", CREATED_NS)
    kind = "google.cloud.storage.object.v1.finalized"
    assert only(find({**event, "type": kind, "data": GOOGLE})).id == "gs://photos/2026/a b.jpg"
    assert find({**event, "type": kind.replace("finalized", "archived"), "data": GOOGLE}) == []
    assert find({**event, "data": {"anything": 1}}) is None


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("image", {"image": "s3://photos/a.png"}),
        ("image.url", {"image": {"url": "s3://photos/a.png"}}),
        ("/image/url", {"image": {"url": "s3://photos/a.png"}}),
        ("/a~1b/0", {"a/b": ["s3://photos/a.png"]}),
        ("files.1", {"files": [None, "s3://photos/a.png"]}),
    ],
)
def test_a_named_field(field: str, body: Any) -> None:
    assert only(find(body, field)) == Named(Reference("s3", "photos", "a.png"))


@pytest.mark.parametrize("body", [{}, {"other": 1}, {"image": []}, {"image": {"src": 1}}])
def test_a_message_without_the_named_field_refers_to_nothing(body: Any) -> None:
    assert find(body, "image.url") is None


@pytest.mark.parametrize("value", [7, {"a": 1}, ["s3://photos/a.png"]])
def test_a_named_field_that_is_no_text_says_so(value: Any) -> None:
    reference = only(find({"image": value}, "image")).reference
    assert isinstance(reference, BadReferenceError)
    assert "field image" in str(reference)


@pytest.mark.parametrize(
    "body",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "photos"},
        {"Records": [s3_record("a", "ObjectRemoved:Delete")]},
        {"Records": [s3_record("a", "s3:ObjectRestore:Completed")]},
        {"Records": [s3_record("folder/", size=0)]},
        {"Records": []},
    ],
)
def test_events_of_which_nothing_was_created(body: Any) -> None:
    assert find(body) == []


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"[1]", b"7", b'"s3://photos/a.png"', b"{}", b'{"Records":[1]}', b'{"Records":7}',
     b'{"detail":{},"source":"aws.sqs"}', b"{" + b" " * (1 << 20) + b"}", b"\xef\xbb\xbf{}",
     b'{"a":' * 5000],
)  # fmt: skip
def test_what_refers_to_nothing(value: bytes) -> None:
    assert find_objects(value, {}) is None


@pytest.mark.parametrize("item", [{"size": -1}, {"size": "many"}, {"size": 1e30}, {"eTag": 5}])
def test_what_an_event_says_badly_beside_the_name_is_left_out(item: dict[str, Any]) -> None:
    reference = only(find({"Records": [s3_record("a", **item)]})).reference
    assert isinstance(reference, Reference)


def test_a_time_that_is_none_is_left_out() -> None:
    record = {**s3_record("a"), "eventTime": "yesterday"}
    assert only(find({"Records": [record]})).intended_ns == 0


def test_more_objects_than_a_message_may_have() -> None:
    found = find({"Records": [s3_record("a")] * (MAX_OBJECTS + 1)})
    assert isinstance(only(found).reference, BadReferenceError)


def test_a_long_key_has_an_id_that_every_reader_takes() -> None:
    named = only(find({"Records": [s3_record("d/" * 300 + "a.jpg")]}))
    assert named.id is not None
    assert len(named.id.encode()) <= 256
    assert named.id.endswith("/a.jpg")


@pytest.mark.parametrize(
    "head", [b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"\x00\x00\x00 ftyp"]
)
def test_no_encoded_image_is_taken_for_a_reference(head: bytes) -> None:
    assert not may_refer(head)
    assert may_refer(b' {"Records":[]}')
    assert not may_refer(b"")
