"""Messages recorded with each version of the contract: whatever comes later still reads them."""

import base64
import json
from pathlib import Path

import pytest

from imaging.decode import to_input
from imaging.rules import ImageRules, Preprocess
from tests.wire.test_answers import ANSWERS
from wire.answers import OtherAnswer
from wire.deadletter import DeadLetter, decode_dead_letter
from wire.image import decode_image, image_id
from wire.prediction import STAMPS, ScoredLabel, decode_prediction
from wire.record import ContractError, StoredRecord, raw_bytes

RULES = ImageRules((32, 32, 3), Preprocess(), max_bytes=1 << 20, max_pixels=1 << 20)
NOW = 1_700_000_000_123_456_000


def recorded(name: str, version: int = 1) -> StoredRecord:
    path = Path(__file__).parent / "golden" / f"v{version}_{name}.json"
    stored = json.loads(path.read_text())
    return StoredRecord(
        record_key=base64.b64decode(stored["key"]),
        record_value=base64.b64decode(stored["value"]),
        record_headers=[(header, base64.b64decode(text)) for header, text in stored["headers"]],
        record_partition=2,
        record_offset=7,
        timestamp_ms=1,
    )


def test_images_are_read() -> None:
    pixels = []
    for name in ("image_png", "image_raw"):
        record = recorded(name)
        event = decode_image(record)
        assert (event.id, event.run_id, event.source) == ("golden-0", "golden", "producer/golden")
        assert (event.intended_ns, event.sent_ns) == (NOW, NOW + 5_000)
        assert event.label
        assert event.traceparent is not None
        pixels.append(to_input(event, raw_bytes(record.value()), RULES))
    assert bytes(pixels[0]) == bytes(pixels[1])
    plain = decode_image(recorded("image_plain"))
    assert (plain.id, plain.content_type, plain.intended_ns) == ("door.png", None, 1_000_000)


def test_predictions_are_read() -> None:
    prediction = decode_prediction(recorded("prediction"))
    assert prediction.top == (
        ScoredLabel(label="cat", class_id=3, score=0.9),
        ScoredLabel(label="dog", class_id=5, score=0.1),
    )
    assert prediction.stamps == {name: NOW + index for index, name in enumerate(STAMPS)}
    assert (prediction.id, prediction.model, prediction.version) == (
        "golden-0",
        "resnet20_cifar10",
        "1",
    )
    assert (prediction.batch_size, prediction.run_id) == (7, "golden")


def test_a_classification_may_say_its_task() -> None:
    assert decode_prediction(recorded("prediction_with_task")) == decode_prediction(
        recorded("prediction")
    )._replace(traceparent=decode_image(recorded("image_png")).traceparent)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("detections", ANSWERS["detections"]),
        ("embedding", ANSWERS["base64"]),
        ("embedding_list", ANSWERS["list"]),
        ("tensors", ANSWERS["tensors"]),
    ],
)
def test_answers_of_the_second_version_are_read(name: str, answer: OtherAnswer) -> None:
    prediction = decode_prediction(recorded(name, version=2))
    assert prediction.answer == answer
    assert prediction.stamps == {name: NOW + index for index, name in enumerate(STAMPS)}
    assert (prediction.id, prediction.batch_size, prediction.run_id) == ("golden-0", 7, "golden")


def test_dead_letters_are_read_and_keep_the_image_as_it_came() -> None:
    record = recorded("dead_letter")
    assert decode_dead_letter(record) == DeadLetter(
        "decode", "not_an_image", "not an image", "images", 2, 7, 1, 1_700_000_000_123
    )
    assert image_id(record) == "golden-0"
    assert decode_image(record) == decode_image(recorded("image_png"))


def test_a_newer_version_is_refused_by_name() -> None:
    record = StoredRecord(record_headers=[("ce_type", b"triton-kafka-bridge.image.v2")])
    with pytest.raises(ContractError, match=r"image\.v2' is newer than this bridge knows"):
        decode_image(record)
