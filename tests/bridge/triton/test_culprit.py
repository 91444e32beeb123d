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
from wire.deadletter import decode_dead_letter
from wire.image import image_id

pytestmark = pytest.mark.slow

MODEL = "mortal"
CONFIG = f"""\
name: "{MODEL}"
backend: "python"
max_batch_size: 4
input [{{ name: "PIXELS" data_type: TYPE_UINT8 dims: [ 32, 32, 3 ] }}]
output [{{ name: "SCORES" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" }}]
instance_group [{{ kind: KIND_CPU }}]
"""
POISON = bytes(32 * 32 * 3)
SOURCE = """\
import os, pathlib, signal
import numpy
import triton_python_backend_utils as pb


def server():
    pid = os.getppid()
    while pathlib.Path(f"/proc/{pid}/comm").read_text().strip() != "tritonserver":
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            pixels = pb.get_input_tensor_by_name(request, "PIXELS").as_numpy()
            if not pixels.any(axis=(1, 2, 3)).all():
                os.kill(server(), signal.SIGKILL)
            scores = numpy.tile(numpy.array([0.9, 0.1], numpy.float32), (len(pixels), 1))
            answers.append(pb.InferenceResponse([pb.Tensor("SCORES", scores)]))
        return answers
"""


def test_an_image_that_kills_triton_each_time_is_set_aside_and_the_others_are_answered(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / MODEL
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "labels.txt").write_text("cat\ndog\n")
    (folder / "1" / "model.py").write_text(SOURCE)
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
