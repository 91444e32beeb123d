"""Wrapped images in the loop, and what belongs to the user on its way through."""

import base64
import json
import tracemalloc
from typing import Any

import orjson
import pytest

from bridge.inference import Answer
from bridge.predicting import at_least
from bridge.routing import Routes
from tests.bridge.fakes import NOW_NS, PIXELS, Bench, Model, good, raw_image
from wire.answers import Detection, Detections
from wire.image import NDARRAY, image_id
from wire.passing import MAX_PASSED, MAX_PASSED_BYTES, PassedHeaders, read_patterns
from wire.prediction import ScoredLabel, decode_prediction
from wire.record import StoredRecord
from wire.wrappings.cloudevents import STRUCTURED
from wire.wrappings.unwrap import Wrapping


def structured(offset: int, **more: Any) -> StoredRecord:
    event = {
        "specversion": "1.0", "id": f"inner-{offset}", "source": "cam", "type": "photo",
        "datacontenttype": NDARRAY, "dtype": "uint8", "shape": "2,2,3",
        "data_base64": base64.b64encode(PIXELS).decode(), **more,
    }  # fmt: skip
    headers = [("content-type", STRUCTURED.encode())]
    return StoredRecord("images", 0, offset, b"key", json.dumps(event).encode(), headers, 1)


def headers_of(bench: Bench, offset: int) -> dict[str, bytes | None]:
    return next(
        dict(publication.record.headers)
        for arrival, publication in bench.delivery.settled
        if arrival.key == offset
    )


def test_structured_events_are_answered_by_their_own_id() -> None:
    bench = Bench(Model())
    bench.run(structured(0), raw_image(1), structured(2, data_base64="dam*ged"), structured(3))
    assert bench.outcomes() == {
        0: "predictions", 1: "predictions", 2: "contract/wrapping", 3: "predictions",
    }  # fmt: skip
    assert headers_of(bench, 0)["ce_id"] == b"inner-0"


@pytest.mark.parametrize(
    ("more", "outcome"),
    [({"shape": "9,9,3"}, "decode/shape"), ({"data_base64": ""}, "decode/empty")],
)
def test_a_dead_letter_keeps_the_wrapped_value_and_says_the_id_inside(
    more: dict[str, str], outcome: str
) -> None:
    bench = Bench(Model())
    bench.run(structured(0, **more))
    ((arrival, letter),) = bench.delivery.settled
    assert bench.outcomes() == {0: outcome}
    assert letter.record.value == arrival.record.record_value
    read = StoredRecord(record_key=letter.record.key, record_headers=letter.record.headers)
    assert image_id(read) == "inner-0"


def test_a_value_that_looks_wrapped_is_a_dead_letter_that_names_the_setting() -> None:
    bench = Bench(Model(), reader={"wrapping": Wrapping("json", "image")})
    text = base64.b64encode(PIXELS).decode()
    bench.run(StoredRecord("images", 0, 0, None, json.dumps({"photo": text}).encode(), [], 1))
    assert bench.outcomes() == {0: "contract/wrapping"}
    assert b"--image-field" in (headers_of(bench, 0)["dlq.error.message"] or b"")


def test_a_prediction_says_where_its_image_is() -> None:
    bench = Bench(Model())
    bench.run(raw_image(7))
    ((_, made),) = bench.delivery.settled
    read = StoredRecord(record_value=made.record.value, record_headers=made.record.headers)
    assert decode_prediction(read).record == {"topic": "images", "partition": 0, "offset": 7}


def test_chosen_headers_are_in_the_prediction_and_all_in_the_dead_letter() -> None:
    passed = PassedHeaders(read_patterns("camera, tenant-*"))
    bench = Bench(Model(), predictions={"passed": passed})
    mine = (("camera", b"\xff7"), ("tenant-a", None), ("secret", b"s"))
    bench.run(raw_image(0, *mine), raw_image(1, *mine, ("ce_time", b"yesterday")))
    prediction, letter = headers_of(bench, 0), headers_of(bench, 1)
    assert (prediction["camera"], prediction["tenant-a"]) == (b"\xff7", None)
    assert "secret" not in prediction
    assert letter["secret"] == b"s"


def test_headers_that_are_passed_on_are_bounded_and_never_the_projects_own() -> None:
    everything = PassedHeaders(["*"])
    own = [("ce_id", b"x"), ("dlq.topic", b"x"), ("content-type", b"x"), ("traceparent", b"x")]
    assert everything.of([*own, ("a", b"1")]) == [("a", b"1")]
    assert len(everything.of([(f"h{n}", b"") for n in range(100)])) == MAX_PASSED
    large = [("a", b"1"), ("b", bytes(MAX_PASSED_BYTES)), ("c", b"3")]
    assert everything.of(large) == [("a", b"1"), ("c", b"3")]
    assert PassedHeaders([]).of([("a", b"1")]) == []
    for wrong in ("ce_id", "ce_*", "dlq.topic", "traceparent"):
        with pytest.raises(ValueError, match="cannot be passed on"):
            PassedHeaders([wrong])


def test_long_names_of_headers_leave_no_memory_behind() -> None:
    passed = PassedHeaders(["camera", "*e"])
    tracemalloc.start()
    for number in range(20):
        assert passed.of([(f"{number}{'n' * 1_000_000}e", b""), ("camera", b"7")]) == [
            ("camera", b"7")
        ]
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


def test_labels_below_the_least_score_are_not_listed() -> None:
    sure = (
        ScoredLabel(label="cat", class_id=3, score=0.8),
        ScoredLabel(label="dog", class_id=5, score=0.1),
    )
    model = Model(lambda images: Answer("1", [sure for _ in images]))
    bench = Bench(model, predictions={"min_score": 0.5})
    bench.run(raw_image(0))
    ((_, made),) = bench.delivery.settled
    assert [one["label"] for one in orjson.loads(made.record.value or b"")["top"]] == ["cat"]
    boxes = [Detection(label="a", class_id=0, score=s, box=(0, 0, 1, 1)) for s in (0.9, 0.5, 0.4)]
    found = at_least(Detections(tuple(boxes)), 0.5)
    assert isinstance(found, Detections)
    assert [one["score"] for one in found.found] == [0.9, 0.5]


def test_an_image_without_any_label_is_answered_by_an_empty_list() -> None:
    bench = Bench(
        Model(),
        predictions={"min_score": 0.9, "routes": Routes("predictions", topics={"cat": "cats"})},
    )
    bench.run(raw_image(0))
    assert bench.outcomes() == {0: "predictions"}
    ((_, made),) = bench.delivery.settled
    read = StoredRecord(record_value=made.record.value, record_headers=made.record.headers)
    assert decode_prediction(read).top == ()


def test_predictions_go_to_the_topic_of_their_label_or_header() -> None:
    by_label = Bench(Model(), predictions={"routes": Routes("predictions", topics={"cat": "cats"})})
    by_label.run(raw_image(0))
    assert by_label.outcomes() == {0: "cats"}
    routes = Routes("predictions", "header:camera", {"front door": "door"})
    by_header = Bench(Model(good), predictions={"routes": routes})
    by_header.run(
        raw_image(0, ("camera", b"front door")), raw_image(1, ("camera", b"\xff")), raw_image(2)
    )
    assert by_header.outcomes() == {0: "door", 1: "predictions", 2: "predictions"}


def test_the_time_inside_a_structured_event_is_the_images() -> None:
    bench = Bench(Model())
    bench.run(structured(0, time="2023-11-14T22:13:20Z"))
    ((_, made),) = bench.delivery.settled
    assert orjson.loads(made.record.value or b"")["stamps_ns"]["intended"] == NOW_NS
