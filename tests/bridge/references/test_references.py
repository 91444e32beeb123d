"""Records that only refer to images, through the pipeline's protocols and a store in memory."""

from collections import Counter
from typing import Any

import orjson
import pytest

from bridge.references.schedule import MAX_FETCHES
from imaging.rules import ImageRules, Preprocess
from storage.objects import RefusedError, UnavailableError
from tests.bridge.fakes import NOW_NS, PIXELS, RULES, Bench, Model, raw_image
from tests.storage.fakes import MemoryObjects
from wire.deadletter import restored
from wire.image import NDARRAY, image_id
from wire.record import Headers, StoredRecord
from wire.reference import Reference
from wire.wrappings.cloudevents import STRUCTURED
from wire.wrappings.unwrap import ValueFormat, Wrapping

PHOTOS = "s3://photos"
ENCODED = ImageRules(None, Preprocess(), 1 << 20, 1 << 20)
"""Of a model that takes encoded images, so that any bytes are one."""
RAW: Headers = [
    ("content-type", NDARRAY.encode()), ("ce_dtype", b"uint8"), ("ce_shape", b"2,2,3"),
]  # fmt: skip


def by_dataref(offset: int, url: str, headers: Headers = ()) -> StoredRecord:
    ids = [("ce_id", b"image-%d" % offset), ("ce_dataref", url.encode())]
    return StoredRecord("images", 0, offset, None, None, [*ids, *headers], NOW_NS // 1_000_000)


def event(offset: int, *keys: str, name: str = "ObjectCreated:Put", **item: Any) -> StoredRecord:
    records = [
        {
            "eventName": name,
            "s3": {"bucket": {"name": "photos"}, "object": {"key": key, **item}},
        }
        for key in keys
    ]
    value = orjson.dumps({"Records": records})
    return StoredRecord("images", 0, offset, b"k", value, None, NOW_NS // 1_000_000)


def encoded(offset: int) -> StoredRecord:
    return StoredRecord("images", 0, offset, None, b"encoded", None, NOW_NS // 1_000_000)


def store(count: int) -> MemoryObjects:
    objects = MemoryObjects()
    for number in range(count):
        objects.put(PHOTOS, f"{number}.raw", PIXELS)
    return objects


def bench(objects: MemoryObjects | None, **more: Any) -> Bench:
    return Bench(Model(), storage=objects, **{"allow": f"{PHOTOS}/", "rules": ENCODED, **more})


def held(one: Bench) -> tuple[int, int]:
    return one.assignment.images, one.assignment.bytes


def sample(one: Bench, name: str, **labels: str) -> float:
    return one.metrics.registry.get_sample_value(name, labels) or 0.0


def test_images_by_reference_are_answered_beside_others() -> None:
    one = bench(store(3))
    refs = [by_dataref(offset, f"{PHOTOS}/{offset}.raw") for offset in range(3)]
    one.run(*refs, encoded(3))
    assert one.outcomes() == dict.fromkeys(range(4), "predictions")
    assert held(one) == (0, 0)
    ids = {dict(made.record.headers)["ce_id"] for _, made in one.delivery.settled}
    assert {b"image-0", b"image-1", b"image-2"} <= ids
    assert sample(one, "bridge_fetches_total", outcome="ok") == 3
    assert sample(one, "bridge_fetched_bytes_total") == 3 * len(PIXELS)
    assert sample(one, "bridge_fetch_seconds_count", store="s3") == 3


def test_a_record_with_bytes_is_read_as_these_whatever_it_refers_to() -> None:
    objects = store(1)
    one = bench(objects, rules=RULES)
    one.run(raw_image(0, ("ce_dataref", b"s3://photos/missing")))
    assert one.outcomes() == {0: "predictions"}
    assert objects.asked == []


@pytest.mark.parametrize("allow", ["", "s3://other/", f"{PHOTOS}/in/"])
def test_what_is_not_allowed_is_never_asked_for(allow: str) -> None:
    objects = store(1)
    one = bench(objects if allow else None, allow=allow)
    one.run(by_dataref(0, f"{PHOTOS}/0.raw"), event(1, "0.raw"))
    assert one.outcomes() == dict.fromkeys(range(2), "fetch/not_allowed")
    assert objects.asked == []
    for _, letter in one.delivery.settled:
        assert b"reference_allow" in (dict(letter.record.headers)["dlq.error.message"] or b"")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("file:///etc/passwd", "not_allowed"),
        ("http://169.254.169.254/latest", "not_allowed"),
        (f"{PHOTOS}/../secret", "reference"),
        (f"{PHOTOS}-private/0.raw", "not_allowed"),
        (f"{PHOTOS}/missing", "not_found"),
        (f"{PHOTOS}/empty", "empty"),
        (f"{PHOTOS}/large", "too_large"),
    ],
)
def test_an_object_that_cannot_be_had_is_a_dead_letter_with_the_record_as_it_came(
    url: str, kind: str
) -> None:
    objects = store(1)
    objects.put(PHOTOS, "empty", b"")
    objects.put(PHOTOS, "large", bytes((1 << 16) + 1))
    one = bench(objects)
    record = by_dataref(0, url)
    one.run(record, by_dataref(1, f"{PHOTOS}/0.raw"))
    assert one.outcomes() == {0: f"fetch/{kind}", 1: "predictions"}
    (letter,) = [made.record for _, made in one.delivery.settled if made.topic == "dlq"]
    again = restored(StoredRecord(record_headers=letter.headers, record_value=letter.value))
    assert (again.value, again.headers) == (record.record_value, list(record.record_headers or ()))
    assert held(one) == (0, 0)


def test_a_size_that_the_event_says_is_enough_to_refuse_it() -> None:
    objects = store(1)
    one = bench(objects)
    one.run(event(0, "0.raw", size=1 << 30))
    assert one.outcomes() == {0: "fetch/too_large"}
    assert objects.asked == []


def test_an_object_that_has_changed_since_is_a_dead_letter() -> None:
    objects = store(1)
    one = bench(objects)
    one.run(event(0, "0.raw", eTag="0" * 32))
    assert one.outcomes() == {0: "fetch/changed"}


def test_what_is_no_image_is_a_dead_letter_of_decoding() -> None:
    objects = store(1)
    objects.put(PHOTOS, "0.raw", b"no pixels")
    one = bench(objects, rules=RULES)
    one.run(by_dataref(0, f"{PHOTOS}/0.raw", RAW))
    assert one.outcomes() == {0: "decode/ndarray"}
    assert held(one) == (0, 0)


def test_each_object_of_a_record_is_answered_by_its_own_id() -> None:
    one = bench(store(2))
    one.run(event(5, "0.raw", "missing", "1.raw"))
    assert Counter(one.outcomes().values()) == {"predictions": 2, "fetch/not_found": 1}
    found = {}
    for _, made in one.delivery.settled:
        headers = dict(made.record.headers)
        out = StoredRecord(record_key=made.record.key, record_headers=made.record.headers)
        found[image_id(out)] = headers.get("dlq.offset")
        assert made.record.key == image_id(out).encode()
    assert found == {
        f"{PHOTOS}/0.raw": None, f"{PHOTOS}/1.raw": None, f"{PHOTOS}/missing": b"5",
    }  # fmt: skip
    assert held(one) == (0, 0)
    assert sample(one, "bridge_images_received_total") == 3
    with one.assignment.changed:
        (done,) = one.assignment.take_completed()
    assert done.offset == 6


def test_the_letter_of_one_object_brings_back_that_one_alone() -> None:
    first = bench(store(2))
    first.run(event(0, "missing", "1.raw"))
    (letter,) = [
        made.record
        for _, made in first.delivery.settled
        if dict(made.record.headers).get("dlq.error.stage") == b"fetch"
    ]
    again = restored(StoredRecord(record_headers=letter.headers, record_value=letter.value))
    objects = store(2)
    objects.put(PHOTOS, "missing", PIXELS)
    second = bench(objects)
    second.run(StoredRecord("images", 0, 9, letter.key, again.value, again.headers))
    assert [one.key for one in objects.asked] == ["missing"]
    ((_, answer),) = second.delivery.settled
    assert dict(answer.record.headers)["ce_id"] == f"{PHOTOS}/missing".encode()


@pytest.mark.parametrize("content_type", [STRUCTURED, "application/json"])
@pytest.mark.parametrize("form", ["auto", "cloudevents"])
def test_a_structured_event_may_refer_to_its_image(content_type: str, form: ValueFormat) -> None:
    by_url = {"dataref": f"{PHOTOS}/0.raw"}
    of_google = {
        "type": "google.cloud.storage.object.v1.finalized",
        "data": {"kind": "storage#object", "bucket": "photos", "name": "1.raw"},
    }
    neither = {"data": {"a": 1}}
    objects = store(1)
    objects.put("gs://photos", "1.raw", PIXELS)
    wrapping = Wrapping(form)
    one = bench(objects, allow=f"{PHOTOS}/,gs://photos/", reader={"wrapping": wrapping})
    headers = [("content-type", f"{content_type}; charset=utf-8".encode())]
    values = [
        orjson.dumps({"specversion": "1.0", "id": "inner", "type": "photo", **more})
        for more in (by_url, of_google, neither)
    ]
    one.run(*(StoredRecord("images", 0, n, None, v, headers, 1) for n, v in enumerate(values)))
    unwrapped = content_type == STRUCTURED or form == "cloudevents"
    last = "contract/wrapping" if unwrapped else "predictions"
    assert one.outcomes() == {0: "predictions", 1: "predictions", 2: last}
    ids = {
        arrival.key: dict(made.record.headers).get("ce_id")
        for arrival, made in one.delivery.settled
    }
    assert (ids[0], ids[1]) == (b"inner", b"gs://photos/1.raw")


@pytest.mark.parametrize(("header", "outcome"), [(1 << 10, "not_allowed"), (1 << 16, "reference")])
def test_headers_too_large_to_be_repeated_for_each_object_cost_one_letter(
    header: int, outcome: str
) -> None:
    record = event(0, *(str(number) for number in range(1000)))
    record.record_headers = [("h", bytes(header))]
    one = bench(None, allow="")
    one.run(record, encoded(1))
    became = Counter(made.reason for arrival, made in one.delivery.settled if arrival.key != 1)
    assert became == {("fetch", outcome): 1 if outcome == "reference" else 1000}
    assert held(one) == (0, 0)


def test_the_letter_of_a_single_object_names_it() -> None:
    one = bench(store(0))
    one.run(event(0, "missing"))
    ((_, letter),) = one.delivery.settled
    out = StoredRecord(record_key=letter.record.key, record_headers=letter.record.headers)
    assert letter.record.key == b"k", "as it came"
    assert image_id(out) == f"{PHOTOS}/missing"


def test_events_without_an_image_need_no_answer() -> None:
    one = bench(store(1))
    test_event = StoredRecord("images", 0, 2, None, b'{"Event":"s3:TestEvent"}', None, 1)
    one.run(event(0, "0.raw", name="ObjectRemoved:Delete"), event(1), test_event, encoded(3))
    assert one.outcomes() == {3: "predictions"}
    assert sample(one, "bridge_images_skipped_total") == 3
    assert sample(one, "bridge_images_dropped_total") == 0
    with one.assignment.changed:
        (done,) = one.assignment.take_completed()
    assert done.offset == 4


def test_a_named_field_is_read_where_the_setting_names_it() -> None:
    value = orjson.dumps({"camera": 7, "image": {"url": f"{PHOTOS}/0.raw"}})
    record = StoredRecord("images", 0, 0, b"frame-1", value, None, 1)
    named, plain = bench(store(1), field="image.url"), bench(store(1))
    for one in (named, plain):
        one.run(record)
    assert sample(named, "bridge_fetches_total", outcome="ok") == 1
    assert sample(plain, "bridge_fetches_total", outcome="ok") == 0
    for one in (named, plain):
        assert held(one) == (0, 0)


def test_raw_pixels_that_look_like_json_are_pixels() -> None:
    record = raw_image(0)
    record.record_value = b'{"Records":['[: len(PIXELS)]
    one = bench(store(1), rules=RULES)
    one.run(record)
    assert one.outcomes() == {0: "predictions"}


def test_a_store_that_is_away_is_waited_for_and_costs_no_image() -> None:
    objects = store(20)
    failures = iter(range(60))

    def away(_: Reference) -> None:
        if next(failures, None) is not None:
            raise UnavailableError("connection refused")

    objects.before = away
    one = bench(objects)
    one.run(*(by_dataref(offset, f"{PHOTOS}/{offset}.raw") for offset in range(20)))
    assert one.outcomes() == dict.fromkeys(range(20), "predictions")
    assert sample(one, "bridge_fetches_total", outcome="transient") == 60
    assert held(one) == (0, 0)


def test_what_is_cut_while_it_is_read_is_fetched_again() -> None:
    objects = store(10)
    cuts: Counter[str] = Counter()

    def cut(reference: Reference) -> None:
        cuts[reference.key] += 1
        if cuts[reference.key] == 1:
            raise UnavailableError("3 of 12 bytes came")

    objects.reading = cut
    one = bench(objects)
    one.run(*(by_dataref(offset, f"{PHOTOS}/{offset}.raw") for offset in range(10)))
    assert one.outcomes() == dict.fromkeys(range(10), "predictions")
    assert held(one) == (0, 0)


def test_an_error_that_nobody_foresaw_costs_its_image_alone() -> None:
    objects = store(3)

    def broken(reference: Reference) -> None:
        if reference.key == "1.raw":
            raise ZeroDivisionError("nobody foresaw this")

    objects.before = broken
    one = bench(objects)
    one.run(*(by_dataref(offset, f"{PHOTOS}/{offset}.raw") for offset in range(3)))
    assert one.outcomes() == {0: "predictions", 1: "fetch/internal", 2: "predictions"}
    assert not one.failures


def test_no_more_are_fetched_at_a_time_than_may_be() -> None:
    objects = store(3 * MAX_FETCHES)
    one = bench(objects)
    one.run(*(by_dataref(n, f"{PHOTOS}/{n}.raw") for n in range(3 * MAX_FETCHES)))
    assert set(one.outcomes().values()) == {"predictions"}
    assert 1 < objects.most <= MAX_FETCHES


class Bytes:
    """Thirty objects, and the most bytes that were in flight while they were read."""

    def __init__(self) -> None:
        objects = MemoryObjects()
        for number in range(30):
            objects.put(PHOTOS, f"{number}.raw", bytes(1 << 15))
        self.records = [by_dataref(n, f"{PHOTOS}/{n}.raw") for n in range(30)]
        self.alone = sum(record.size for record in self.records)
        self.limit = self.alone + 4 * (1 << 15)
        self.bench = bench(objects, max_bytes=self.limit)
        self.most = 0
        objects.reading = self.read

    def read(self, _: Reference) -> None:
        self.most = max(self.most, self.bench.assignment.bytes)


def test_bytes_that_are_fetched_count_as_images_in_flight_do() -> None:
    one = Bytes()
    one.bench.run(*one.records)
    assert len(one.bench.outcomes()) == 30
    assert one.alone < one.most <= one.limit + (1 << 16), "no more than the largest one goes beyond"
    assert held(one.bench) == (0, 0)


def test_more_objects_are_fetched_at_a_time_once_more_bytes_are_allowed() -> None:
    one = Bytes()
    assert one.bench.fetcher is not None
    one.bench.fetcher.resize(one.alone + 20 * (1 << 15))
    one.bench.run(*one.records)
    assert len(one.bench.outcomes()) == 30
    assert one.most > one.limit + (1 << 16)


def test_an_image_of_a_partition_that_is_gone_is_let_go_while_its_store_is_away() -> None:
    objects = store(1)

    def away(_: Reference) -> None:
        one.assignment.revoke([("images", 0)])
        raise UnavailableError("connection refused")

    objects.before = away
    one = bench(objects)
    one.run(by_dataref(0, f"{PHOTOS}/0.raw"))
    assert one.outcomes() == {}
    assert held(one) == (0, 0)
    assert sample(one, "bridge_images_dropped_total") == 1


def test_what_is_refused_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = store(1)

    def forbidden(reference: Reference) -> None:
        raise RefusedError("forbidden", f"{reference.url}: 403 Forbidden (AccessDenied)")

    monkeypatch.setattr(objects, "before", forbidden)
    one = bench(objects)
    one.run(by_dataref(0, f"{PHOTOS}/0.raw"))
    assert one.outcomes() == {0: "fetch/forbidden"}
    ((_, letter),) = one.delivery.settled
    assert b"AccessDenied" in (dict(letter.record.headers)["dlq.error.message"] or b"")
