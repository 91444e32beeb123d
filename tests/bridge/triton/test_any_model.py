"""Models that are in Triton already: answered as they are, told only what Triton does not say."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from producer.encoding import EncodedImage, Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.triton import Triton
from tests.bridge.answers import (
    RIGHT_OF_1000,
    as_records,
    collect_answers,
    predictions,
    right,
)
from tests.bridge.conftest import StartBridge
from tests.bridge.triton.conftest import Ask
from tests.conftest import Topics
from tests.kafka_client import send
from tests.photos import encoded, photo
from wire.answers import FLOAT32, Detections, Embedding, Tensors
from wire.image import NDARRAY


def test_the_oracle_holds_for_a_float_model_with_the_bridges_own_preprocessing(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, zoo: Triton
) -> None:
    images = cifar10(Encoding.PNG)
    start_bridge(triton=zoo.grpc, model="resnet20_floats")
    send(kafka.bootstrap, topics.images, as_records(images))
    found = predictions(collect_answers(kafka, topics, len(images)), topics)
    assert right(images, found) == RIGHT_OF_1000
    assert max(one.batch_size for one in found) > 1
    best = found[0].top[0]
    assert 0 < best["score"] <= 1
    assert len(found[0].top) == 3


def test_raw_pixels_and_ready_tensors_of_a_float_model_get_the_same_answer(
    ask: Ask,
) -> None:
    from imaging.tensor import PRESETS, TensorRules, to_tensor  # noqa: PLC0415

    (raw,) = cifar10(Encoding.RAW, limit=1)
    pixels = np.frombuffer(raw.value, np.uint8).reshape(1, 32, 32, 3)
    ready = to_tensor(pixels, TensorRules("float32", True, PRESETS["imagenet"]))
    tensor = EncodedImage(ready.tobytes(), NDARRAY, None, "float32", (3, 32, 32))
    found = ask({"raw": raw, "tensor": tensor}, "resnet20_floats").predictions
    assert found["raw"].top == found["tensor"].top


def test_densenet_of_tritons_quick_start_is_served_with_one_setting(ask: Ask) -> None:
    colours = {"red": (250, 30, 20), "green": (0, 200, 10), "blue": (0, 10, 99)}
    images = {name: encoded(Image.new("RGB", (300, 280), rgb)) for name, rgb in colours.items()}
    told = {"preprocess.normalize": "inception", "preprocess.resize": "256"}
    found = ask(images, "densenet_onnx", told).predictions
    assert {name: one.top[0]["label"] for name, one in found.items()} == {
        "red": "RED", "green": "GREEN", "blue": "BLUE",
    }  # fmt: skip


def test_densenet_is_refused_at_start_with_the_setting_that_it_needs(
    start_bridge: StartBridge, zoo: Triton
) -> None:
    bridge = start_bridge(ready=False, triton=zoo.grpc, model="densenet_onnx")
    assert bridge.wait_exit(60) == 2
    log = bridge.log_path.read_text()
    assert "--model-parameters preprocess.normalize=" in log
    assert "Traceback" not in log


def test_boxes_come_back_in_the_pixels_of_the_photo_that_was_sent(ask: Ask) -> None:
    red, blue = (100, 40, 180, 120), (220, 150, 300, 200)
    wide = photo((320, 240), ("red", red), ("blue", blue))
    turned = wide.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: to be turned by 90 degrees
    small = photo((64, 64), ("blue", (8, 16, 24, 48)))
    found = ask(
        {"wide": encoded(wide), "turned": encoded(turned, exif=exif), "small": encoded(small)},
        "detector",
    ).predictions
    for name in ("wide", "turned"):
        answer = found[name].answer
        assert isinstance(answer, Detections)
        assert answer.image == {"width": 320, "height": 240}, name
        boxes = {one["label"]: one["box"] for one in answer.found}
        assert boxes["red"] == pytest.approx(red, abs=5), name  # a pixel of the input is five
        assert boxes["blue"] == pytest.approx(blue, abs=5), name
        assert len(answer.found) == 2, "each is found twice by the model, and told once"
    answer = found["small"].answer
    assert isinstance(answer, Detections)
    (only,) = answer.found
    assert (only["label"], only["score"], only["class_id"]) == ("blue", 0.9, 1)
    assert only["box"] == (8, 16, 24, 48)


@pytest.mark.parametrize("encoding", ["base64", "list"])
def test_an_embedding_is_the_models_vector(ask: Ask, encoding: str) -> None:
    (image,) = cifar10(Encoding.RAW, limit=1)
    told = {
        "preprocess.size": "32x32", "preprocess.normalize": "unit",
        "postprocess.normalize": "l2", "postprocess.encoding": encoding,
    }  # fmt: skip
    found = ask({"one": image}, "embedder", told).predictions
    answer = found["one"].answer
    assert isinstance(answer, Embedding)
    assert answer.encoding == encoding
    pixels = (np.frombuffer(image.value, np.uint8).reshape(-1, 3) / 255).astype(np.float16)
    numbers = pixels.astype(np.float32)
    vector = np.concatenate((numbers.mean(0), numbers.std(0)))
    expected = vector / np.linalg.norm(vector)
    np.testing.assert_allclose(np.frombuffer(answer.values, FLOAT32), expected, atol=1e-5)
    assert len(base64.b64encode(answer.values)) == 32


def test_any_tensors_are_passed_on_where_that_is_asked(ask: Ask) -> None:
    told = {"preprocess.size": "32x32", "preprocess.normalize": "none"}
    found = ask(
        {"one": encoded(Image.new("RGB", (32, 32), (0, 2, 3)))}, "embedder", told, task="raw"
    ).predictions
    answer = found["one"].answer
    assert isinstance(answer, Tensors)
    (output,) = answer.outputs
    assert (output["name"], output["datatype"], output["shape"]) == ("vector", "FP32", (6,))
    assert output["data"] == (0, 2, 3, 0, 0, 0)


def test_a_vector_with_nan_is_a_dead_letter_and_its_neighbours_are_answered(
    ask: Ask,
) -> None:
    images = {f"grey-{i}": encoded(Image.new("RGB", (32, 32), (i, i, i))) for i in range(20, 40)}
    images["white"] = encoded(Image.new("RGB", (32, 32), (255, 255, 255)))
    told = {"preprocess.size": "32x32", "preprocess.normalize": "unit"}
    found, letters = ask(images, "embedder", told)
    assert set(found) == set(images) - {"white"}
    letter = letters["white"]
    assert (letter.stage, letter.error_class) == ("infer", "not_finite")
    assert "output vector" in letter.message


def test_an_answer_of_another_shape_is_a_dead_letter_with_the_shapes(ask: Ask) -> None:
    noisy = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    images = {
        "noisy": encoded(Image.fromarray(noisy)),
        "grey": encoded(Image.new("RGB", (8, 8), (50, 50, 50))),
    }
    found, letters = ask(images, "liar", {"preprocess.layout": "NCHW"}, max_attempts="2")
    assert set(found) == {"grey"}
    letter = letters["noisy"]
    assert letter.stage == "infer"
    assert "one row for each image" in letter.message


@pytest.mark.parametrize(
    ("model", "told", "settings", "complaint"),
    [
        ("embedder", {}, {}, "set preprocess.size = 224x224"),
        ("detector", {"postprocess.layout": "ssd"}, {}, "expected one of torchvision"),
        ("detector", {"preprocess.fitt": "exact"}, {}, "there is no parameter 'preprocess.fitt'"),
        ("detector", {}, {"task": "classify"}, "task classify needs a floating-point output"),
    ],
)
def test_what_can_never_be_served_is_refused_with_what_to_change(
    start_bridge: StartBridge,
    zoo: Triton,
    model: str,
    told: dict[str, str],
    settings: dict[str, str],
    complaint: str,
) -> None:
    bridge = start_bridge(
        ready=False, triton=zoo.grpc, model=model, model_parameters=json.dumps(told), **settings
    )
    assert bridge.wait_exit(60) == 2
    assert complaint in bridge.log_path.read_text()
