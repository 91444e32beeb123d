"""An image that takes Triton down: it becomes a dead letter, and the others are answered."""

from pathlib import Path

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.triton import Triton
from tests.bridge.conftest import StartBridge
from tests.bridge.test_live import as_record, as_records, collect_answers, ids, predictions
from tests.conftest import Topics
from tests.faults.trial import kept_running
from tests.kafka_client import send
from tests.mortal import MODEL, POISON, write_model
from wire.deadletter import decode_dead_letter
from wire.image import image_id

pytestmark = pytest.mark.slow


def test_an_image_that_kills_triton_each_time_is_set_aside_and_the_others_are_answered(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, tmp_path: Path
) -> None:
    write_model(tmp_path / "models")
    images = cifar10(Encoding.RAW)
    records = as_records(images, 200)
    records.insert(50, as_record(images[0]._replace(value=POISON), "poison"))
    with Triton(tmp_path / "models", tmp_path / "mortal") as triton, kept_running(triton):
        bridge = start_bridge(
            model=MODEL, triton=triton.grpc, max_attempts="2", retry_max_s="1"
        )  # fmt: skip
        send(kafka.bootstrap, topics.images, records)
        messages = collect_answers(kafka, topics, len(records))
        assert bridge.running
    assert set(ids(messages).values()) == {1}
    assert len(predictions(messages, topics)) == 200
    (dead,) = (one for one in messages if one.topic() == topics.dead_letters)
    letter = decode_dead_letter(dead)
    assert image_id(dead) == "poison"
    assert (letter.stage, letter.error_class) == ("infer", "UNAVAILABLE")
    assert "Triton went away" in letter.message
