"""Images that lie in object storage, on the page."""

import orjson
import pytest

from consumer.liveview.objects import Objects, make_objects
from consumer.liveview.view import View
from consumer.measuring.measure import Topics
from consumer.reader import Received
from storage.allowed import parse_allow_list
from storage.objects import UnavailableError
from tests.consumer.liveview.conftest import serving
from tests.consumer.liveview.records import NOW_NS, png
from tests.consumer.liveview.test_web import get
from tests.storage.fakes import MemoryObjects
from wire.image import encode_image
from wire.record import StoredRecord
from wire.reference import Reference

PHOTOS = "s3://photos"
LIMIT = 1 << 16


@pytest.fixture
def view() -> View:
    return View("test", Topics("images", "predictions", "images.dlq"))


def refer(view: View, *urls: str) -> None:
    for number, url in enumerate(urls):
        out = encode_image(
            id=f"image-{number}", value=None, content_type="image/png", source="test",
            intended_ns=NOW_NS, sent_ns=NOW_NS, dataref=url,
        )  # fmt: skip
        record = StoredRecord("images", 0, number, out.key, out.value, out.headers)
        view.take(Received(record, NOW_NS))


def objects(store: MemoryObjects, allow: str = f"{PHOTOS}/") -> Objects:
    return Objects(parse_allow_list(allow), LIMIT, lambda: store)


def shown(view: View, number: int, found: Objects | None) -> bool:
    with serving(view, found) as port:
        answer = get(port, f"/pictures/{number}")
    assert answer.status == 200
    return "svg" not in (answer.headers["Content-Type"] or "")


def test_a_picture_is_fetched_when_a_page_asks_for_it(view: View) -> None:
    store = MemoryObjects()
    store.put(PHOTOS, "a.png", png())
    refer(view, f"{PHOTOS}/a.png")
    assert store.asked == []
    assert shown(view, 0, objects(store))
    assert store.asked == [Reference("s3", "photos", "a.png")]


@pytest.mark.parametrize(
    "url", [f"{PHOTOS}-private/a.png", "file:///etc/passwd", f"{PHOTOS}/large", f"{PHOTOS}/none"]
)
def test_what_may_not_be_had_is_not_shown(view: View, url: str) -> None:
    store = MemoryObjects()
    store.put(f"{PHOTOS}-private", "a.png", png())
    store.put(PHOTOS, "large", bytes(LIMIT + 1))
    refer(view, url)
    assert not shown(view, 0, objects(store))
    assert not shown(view, 0, None)
    assert all(one.store == PHOTOS for one in store.asked)


def test_a_store_that_is_away_costs_its_pictures_alone(view: View) -> None:
    store = MemoryObjects()

    def away(_: Reference) -> None:
        raise UnavailableError("connection refused")

    store.before = away
    refer(view, f"{PHOTOS}/a.png")
    assert not shown(view, 0, objects(store))


def test_each_object_of_a_message_is_an_image_of_its_own(view: View) -> None:
    records = [
        {"eventName": "ObjectCreated:Put",
         "s3": {"bucket": {"name": "photos"}, "object": {"key": key, "size": 5}}}
        for key in ("a.png", "b.png")
    ]  # fmt: skip
    value = orjson.dumps({"Records": records})
    view.take(Received(StoredRecord("images", 0, 0, None, value, None, 1), NOW_NS))
    assert orjson.loads(view.frame())["totals"]["images"] == 2
    found = [view.picture(number) for number in range(2)]
    assert [one and one.reference and one.reference.key for one in found] == ["a.png", "b.png"]


def test_prefixes_that_mean_nothing_are_refused() -> None:
    assert make_objects("", LIMIT) is None
    with pytest.raises(ValueError, match="s3://"):
        make_objects("photos", LIMIT)
