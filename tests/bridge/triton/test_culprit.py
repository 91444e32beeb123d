"""An image that takes Triton down: it becomes a dead letter, and the others are answered."""

from pathlib import Path

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.triton import Triton
from tests.bridge.answers import as_record, as_records, collect_answers, ids, predictions
from tests.bridge.conftest import StartBridge
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


STATUSES = ["NOT_FOUND", "UNIMPLEMENTED", "ALREADY_EXISTS", "CANCELLED"]
CODES = ["NOT_FOUND", "UNSUPPORTED", "ALREADY_EXISTS", "CANCELLED"]
"""What Triton's Python backend calls them."""
PICKY = f"""\
import numpy
import triton_python_backend_utils as pb

CODES = {CODES!r}


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            pixels = pb.get_input_tensor_by_name(request, "PIXELS").as_numpy()
            flat = pixels.reshape(len(pixels), -1)
            grey = flat[flat.min(axis=1) == flat.max(axis=1), 0]
            named = [int(value) for value in grey if value < len(CODES)]
            if named:
                error = pb.TritonError("not this one", getattr(pb.TritonError, CODES[named[0]]))
                answers.append(pb.InferenceResponse([], error))
                continue
            scores = numpy.tile(numpy.array([0.9, 0.1], numpy.float32), (len(pixels), 1))
            answers.append(pb.InferenceResponse([pb.Tensor("SCORES", scores)]))
        return answers
"""


def test_images_that_the_model_will_not_answer_are_set_aside_and_the_others_are_answered(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, tmp_path: Path
) -> None:
    write_model(tmp_path / "models")
    (tmp_path / "models" / MODEL / "1" / "model.py").write_text(PICKY)
    images = cifar10(Encoding.RAW)
    records = as_records(images, 200)
    for number, status in enumerate(STATUSES):
        value = bytes([number]) * len(POISON)
        records.insert(50 * number, as_record(images[0]._replace(value=value), status))
    with Triton(tmp_path / "models", tmp_path / "picky") as triton:
        start_bridge(model=MODEL, triton=triton.grpc, max_attempts="2", retry_max_s="1")
        send(kafka.bootstrap, topics.images, records)
        messages = collect_answers(kafka, topics, len(records))
    assert set(ids(messages).values()) == {1}
    assert len(predictions(messages, topics)) == 200
    dead = [one for one in messages if one.topic() == topics.dead_letters]
    assert {image_id(one): decode_dead_letter(one).error_class for one in dead} == dict(
        zip(STATUSES, STATUSES, strict=True)
    )
    assert all("would not answer this image" in decode_dead_letter(one).message for one in dead)
