"""Records in, frames out, whatever is in the records."""

import gc
import tracemalloc
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.liveview.describing import MAX_BOXES, MAX_TEXT, MAX_TOP
from consumer.liveview.view import ALIKE, View
from consumer.measuring.measure import Topics
from consumer.reader import Received
from tests.consumer.liveview.records import MS, NOW_NS, answer, image, predict, refuse, stored
from tests.wire.test_answers import ANSWERS
from wire.answers import (
    FLOAT32,
    Detection,
    Detections,
    Embedding,
    ImageSize,
    OtherAnswer,
)
from wire.image import decode_image
from wire.prediction import STAMPS, Prediction, ScoredLabel
from wire.record import Outgoing, StoredRecord

TOPICS = Topics("images", "predictions", "images.dlq")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(clock: Clock) -> View:
    return View("test", TOPICS, clock=clock)


def take(view: View, out: Outgoing, topic: str, at_ns: int = NOW_NS, offset: int = 0) -> None:
    view.take(Received(stored(out, topic, offset), at_ns))


def frame(view: View, clock: Clock, seconds: float = 1.0) -> dict[str, Any]:
    clock.now += seconds
    found: dict[str, Any] = orjson.loads(view.frame())
    return found


def wall(shown: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in shown["boards"]["wall"] if item is not None]


def test_an_image_and_its_answer_are_one_card_with_latency_and_verdict(
    view: View, clock: Clock
) -> None:
    sent = image(1, label="cat")
    take(view, sent, "images", offset=7)
    take(view, answer(stored(sent), "cat", took_ms=10), "predictions", NOW_NS + 15 * MS)
    shown = frame(view, clock)
    (card,) = wall(shown)
    assert card["id"] == "image-1"
    assert card["state"] == "answered"
    assert card["where"] == "images/0/7"
    assert card["right"] is True
    assert card["picture"] is True
    assert card["top"][0] == ["cat", 0.9]
    assert card["latency_ms"] == 15
    assert card["stages_ms"] == [0, 2, 2, 2, 4, 5]
    assert shown["summary"]["rate"] == 1
    assert shown["summary"]["p50"] == pytest.approx(15, rel=0.01)
    assert shown["summary"]["mean_request"] == 4
    assert shown["waiting"] == 0
    assert shown["model"] == "resnet version 1"


def test_an_answer_that_is_read_before_its_image_finds_it(view: View, clock: Clock) -> None:
    sent = image(1, label="dog")
    take(view, answer(stored(sent), "cat"), "predictions")
    take(view, sent, "images")
    (card,) = wall(frame(view, clock))
    assert (card["state"], card["truth"], card["picture"]) == ("answered", "dog", True)


def test_images_under_one_key_are_told_apart_by_when_they_were_due(
    view: View, clock: Clock
) -> None:
    first = image(1, id="door", at_ns=NOW_NS)
    second = image(2, id="door", at_ns=NOW_NS + MS)
    take(view, first, "images", offset=0)
    take(view, second, "images", offset=1)
    take(view, answer(stored(second), "second"), "predictions")
    take(view, answer(stored(first), "first"), "predictions")
    cards = wall(frame(view, clock))
    found = {card["where"]: card["top"][0][0] for card in cards}
    assert found == {"images/0/0": "first", "images/0/1": "second"}


def test_a_dead_letter_finds_its_image_by_where_it_was(view: View, clock: Clock) -> None:
    broken = Outgoing(None, b"rubbish", [("ce_time", b"yesterday")])
    record = stored(broken, offset=41)
    view.take(Received(record, NOW_NS))
    take(view, refuse(record, "ce_time is no time"), "images.dlq")
    shown = frame(view, clock)
    (card,) = wall(shown)
    assert card["state"] == "dead-lettered"
    assert card["reason"] == "decode/not_an_image: ce_time is no time"
    assert card["where"] == "images/0/41"
    assert [item["number"] for item in shown["boards"]["dead"] if item] == [card["number"]]


def test_a_wrong_answer_is_set_apart_and_a_right_one_is_not(view: View, clock: Clock) -> None:
    for number, label in enumerate(("cat", "ship")):
        sent = image(number, label="cat")
        take(view, sent, "images", offset=number)
        take(view, answer(stored(sent), label), "predictions")
    shown = frame(view, clock)
    assert [item["id"] for item in shown["boards"]["wrong"] if item] == ["image-1"]
    assert (shown["summary"]["labelled"], shown["summary"]["correct"]) == (2, 1)


def test_a_second_outcome_is_a_duplicate_and_changes_nothing(view: View, clock: Clock) -> None:
    sent = image(1)
    take(view, sent, "images")
    take(view, answer(stored(sent), "cat"), "predictions")
    take(view, answer(stored(sent), "dog"), "predictions")
    take(view, refuse(stored(sent)), "images.dlq")
    shown = frame(view, clock)
    assert wall(shown)[0]["top"][0][0] == "cat"
    assert shown["totals"]["duplicates"] == 2
    assert shown["totals"]["answered"] == 1


def test_what_is_no_prediction_is_counted(view: View, clock: Clock) -> None:
    take(view, Outgoing(None, b"{", []), "predictions")
    assert frame(view, clock)["totals"]["unreadable"] == 1


def test_an_image_without_an_answer_is_shown_waiting(view: View, clock: Clock) -> None:
    take(view, image(1), "images")
    shown = frame(view, clock, 2)
    assert shown["waiting"] == 1
    assert wall(shown)[0]["state"] == "waiting"


def test_a_frame_is_shared_by_all_who_ask_at_about_the_same_time(view: View, clock: Clock) -> None:
    clock.now = 1.0
    assert view.frame() is view.frame()


def test_memory_does_not_grow_with_what_passes_by(clock: Clock) -> None:
    view = View("test", TOPICS, max_items=200, clock=clock)
    long = "x" * 5000

    def pass_by(numbers: range) -> int:
        """Images and answers, with texts much longer than are shown; bytes in use then."""
        for number in numbers:
            sent = image(number, label=long[:1000])
            take(view, sent, "images", offset=number)
            event = decode_image(stored(sent))
            top = tuple(
                ScoredLabel(label=f"{place}{long}", class_id=0, score=1.0) for place in range(9)
            )
            prediction = Prediction(event.id, long, "1", top, dict.fromkeys(STAMPS, NOW_NS), 1)
            take(view, predict(event, prediction), "predictions")
            clock.now += 1
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        full = pass_by(range(300))
        assert pass_by(range(300, 1200)) < full * 1.25  # what came since is four times what is kept
    finally:
        tracemalloc.stop()
    shown = frame(view, clock)
    assert len(view.frame()) < 200_000
    card = wall(shown)[0]
    assert len(card["top"]) == MAX_TOP
    assert len(card["top"][0][0]) == len(card["model"]) == len(card["truth"]) == MAX_TEXT


def test_the_history_says_nothing_before_a_second_is_over(view: View, clock: Clock) -> None:
    shown = frame(view, clock, 0.5)
    assert shown["history"]["answered"] == []


header_names = st.sampled_from(
    ["ce_id", "ce_type", "ce_time", "ce_label", "ce_shape", "content-type", "dlq.topic",
     "dlq.partition", "dlq.offset", "dlq.error.message", "other"]
)  # fmt: skip
HUGE = "9" * 4000
numbers = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1), st.floats(), st.sampled_from(["x", HUGE])
)
predictions = st.fixed_dictionaries(
    {
        "id": st.text(max_size=300),
        "model": st.text(max_size=8),
        "version": st.text(max_size=3),
        "batch_size": numbers,
        "stamps_ns": st.fixed_dictionaries(dict.fromkeys(STAMPS, numbers)),
        "top": st.lists(
            st.fixed_dictionaries({"label": st.text(), "class_id": numbers, "score": numbers}),
            max_size=7,
        ),
    }
)


@settings(deadline=None)
@given(data=st.data(), topic=st.sampled_from(["images", "predictions", "images.dlq"]))
def test_no_record_stops_the_view(data: st.DataObject, topic: str) -> None:
    clock = Clock()
    view = View("test", TOPICS, clock=clock)
    kind = [("ce_type", b"triton-kafka-bridge.prediction.v1")] if topic == "predictions" else []
    headers = data.draw(st.lists(st.tuples(header_names, st.none() | st.binary(max_size=40))))
    body = st.binary(max_size=60)
    if topic == "predictions":
        body |= predictions.map(lambda found: orjson.dumps(found, option=orjson.OPT_NON_STR_KEYS))
    record = StoredRecord(
        topic, 0, 1, data.draw(st.none() | st.binary(max_size=300)), data.draw(body),
        [*kind, *headers], data.draw(st.integers(-1, 1 << 50)),
    )  # fmt: skip
    view.take(Received(record, NOW_NS))
    assert isinstance(frame(view, clock, 2)["boards"]["wall"], list)


def test_an_answer_without_classes_is_told_in_words(view: View, clock: Clock) -> None:
    for number, name in enumerate(("detections", "base64")):
        sent = image(number, label="cat")
        take(view, sent, "images", offset=number)
        event = decode_image(stored(sent))
        stamps = dict.fromkeys(STAMPS, NOW_NS)
        prediction = Prediction(event.id, "m", "1", (), stamps, 1, answer=ANSWERS[name])
        take(view, predict(event, prediction), "predictions")
    cards = {card["id"]: card for card in wall(frame(view, clock))}
    objects, vector = cards["image-0"], cards["image-1"]
    assert (objects["says"], objects["top"]) == ("1 object: cat 0.90", [["cat", 0.9]])
    assert (vector["says"], vector["top"]) == ("vector of 3 numbers", [])
    assert objects["right"] is None
    assert vector["right"] is None


def say(view: View, number: int, said: OtherAnswer) -> None:
    """An image, and an answer of another task than classification."""
    sent = image(number)
    take(view, sent, "images", offset=number)
    event = decode_image(stored(sent))
    prediction = Prediction(event.id, "m", "1", (), dict.fromkeys(STAMPS, NOW_NS), 1, answer=said)
    take(view, predict(event, prediction), "predictions")


def test_boxes_are_drawn_bounded_and_in_the_pictures_own_units(view: View, clock: Clock) -> None:
    one = Detection(label="x" * 1000, class_id=8, score=0.9, box=(10, 20, 110, 70))
    say(view, 1, Detections((one,) * 50, ImageSize(width=200, height=100)))
    (card,) = wall(frame(view, clock))
    assert card["overlay"]["height"] == 50
    assert len(card["overlay"]["boxes"]) == MAX_BOXES
    box = card["overlay"]["boxes"][0]
    assert (box["x"], box["y"], box["width"], box["height"]) == (5, 10, 50, 25)
    assert len(box["label"]) == MAX_TEXT


def test_the_images_most_like_one_are_told_by_their_cosine(view: View, clock: Clock) -> None:
    for number in range(20):
        vector = np.array([np.cos(number / 20), np.sin(number / 20)], FLOAT32)
        say(view, number, Embedding(vector.tobytes()))
    say(view, 20, Embedding(np.zeros(2, FLOAT32).tobytes()))
    say(view, 21, Embedding(np.ones(3, FLOAT32).tobytes()))
    cards = {card["id"]: card for card in wall(frame(view, clock, seconds=60))}
    for _ in range(10):
        cards |= {card["id"]: card for card in wall(frame(view, clock))}
    assert cards["image-0"]["vector"] is True
    assert cards["image-20"]["vector"] is False
    found = orjson.loads(view.alike(cards["image-0"]["number"]))
    assert [one["id"] for one in found] == [f"image-{number}" for number in range(1, 1 + ALIKE)]
    assert found[0]["cosine"] == pytest.approx(np.cos(1 / 20), abs=1e-6)
    assert orjson.loads(view.alike(cards["image-21"]["number"])) == []
    assert orjson.loads(view.alike(10**9)) == []
