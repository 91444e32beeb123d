"""A model that takes encoded images: the bridge passes them on, and answers no worse for it."""

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from tests.bridge.answers import (
    GOOD,
    RIGHT_OF_1000,
    as_record,
    as_records,
    collect_answers,
    predictions,
    right,
    wait_for,
)
from tests.bridge.conftest import StartBridge
from tests.bridge.test_live import BAD, reasons
from tests.conftest import ENSEMBLE, Topics
from tests.kafka_client import send
from wire.deadletter import decode_dead_letter
from wire.image import NDARRAY, image_id

UNDECODED = "content_type"
"""Raw pixels are no encoded image, whatever is wrong with them."""


@pytest.mark.parametrize("encoding", [Encoding.PNG, Encoding.WEBP])
def test_the_oracle_holds_where_triton_decodes(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, encoding: Encoding
) -> None:
    images = cifar10(encoding)
    start_bridge(model=ENSEMBLE)
    send(kafka.bootstrap, topics.images, as_records(images))
    answers = predictions(collect_answers(kafka, topics, len(images)), topics)
    assert right(images, answers) == RIGHT_OF_1000
    assert {answer.model for answer in answers} == {ENSEMBLE}
    assert max(answer.batch_size for answer in answers) > 1


def test_what_triton_can_not_decode_is_set_aside_as_by_the_bridge_itself(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge
) -> None:
    records = []
    for name, (image, _) in BAD.items():
        records += [as_record(GOOD, f"before-{name}"), as_record(image, name)]
    send(kafka.bootstrap, topics.images, records)
    start_bridge(model=ENSEMBLE)
    messages = collect_answers(kafka, topics, len(records))
    dead = {image_id(m): m for m in messages if m.topic() == topics.dead_letters}
    expected = {
        name: UNDECODED if image.content_type == NDARRAY else kind
        for name, (image, kind) in BAD.items()
    }
    letters = {name: decode_dead_letter(m) for name, m in dead.items()}
    assert {name: letter.error_class for name, letter in letters.items()} == expected
    assert {letter.stage for letter in letters.values()} == {"decode"}
    assert all(dead[name].value() == image.value for name, (image, _) in BAD.items())
    answers = predictions(messages, topics)
    assert {answer.id for answer in answers} == {f"before-{name}" for name in BAD}
    assert {answer.top[0]["label"] for answer in answers} == {GOOD.label}


def test_a_stream_of_nothing_but_bad_images_blows_the_fuse(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge
) -> None:
    bad = [as_record(GOOD._replace(value=b"junk"), f"image-{i}") for i in range(60)]
    send(kafka.bootstrap, topics.images, bad)
    bridge = start_bridge(model=ENSEMBLE, ready=False, fuse_consecutive="20")
    wait_for(lambda: "fuse" in reasons(bridge))
    assert "images in a row" in reasons(bridge)["fuse"]
