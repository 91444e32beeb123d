"""Models as people have them in Triton: refused with the setting that is missing, then served."""

import base64
import io
import re
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import pytest
from PIL import Image

from bridge.loading import load
from bridge.triton.client import TritonServer
from bridge.triton.model import UnservableModelError, Wanted
from producer.encoding import EncodedImage
from stack.triton import Triton
from tests.bridge.triton.conftest import Ask
from tests.photos import encoded, photo
from wire.answers import FLOAT32, Detections, Embedding, Tensors

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "bring-your-own-model.md").read_text()
SECTION = PAGE.partition("### Models that people have\n")[2].partition("\n## ")[0]
UNIT = {"preprocess.normalize": "unit"}
RED = (60, 30, 200, 150)
WIDE = photo((320, 240), ("red", RED))


def documented(model: str) -> dict[str, str]:
    """The parameters that docs/bring-your-own-model.md gives for a model."""
    for example in re.findall(r"^```toml\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL):
        with NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(example)
            file.flush()
            settings = load({"config": Path(file.name)})
        if settings.model == model:
            return dict(settings.model_parameters)
    raise AssertionError(f"no example for {model}")


def plain(level: int, size: tuple[int, int] = (64, 64)) -> EncodedImage:
    return encoded(Image.new("RGB", size, (level, level, level)))


@pytest.mark.parametrize(
    ("model", "told", "missing"),
    [
        ("yolov8n", {}, "set preprocess.normalize"),
        ("yolov8n", UNIT, "set postprocess.task = detect"),
        ("efficientnms", {}, "set preprocess.normalize"),
        ("clip", {}, "clip"),
        ("unet", UNIT, "postprocess.encoding = png"),
        ("keras_segmenter", UNIT, "set preprocess.size = 224x224"),
        ("mnist", {}, "set preprocess.normalize = unit"),
        ("mnist", {"preprocess.normalize": "imagenet"}, "preprocess.normalize = unit"),
        ("sequence", UNIT, "serve it with dynamic_batching"),
        ("decoupled", UNIT, "serve it without model_transaction_policy"),
        ("pair", UNIT, "optional: true"),
        ("flat", UNIT, r"reshape \{ shape: \[ 28, 28 \] \}"),
        ("words", UNIT, "--task raw"),
    ],
)
def test_what_is_missing_is_named(
    zoo: Triton, model: str, told: dict[str, str], missing: str
) -> None:
    server = TritonServer(zoo.grpc, model, wanted=Wanted(parameters=told))
    try:
        with pytest.raises(UnservableModelError, match=missing):
            server.load_spec(30)
    finally:
        server.close()


def test_a_yolo_without_tritons_batches_finds_what_is_on_the_photo(ask: Ask) -> None:
    found = (
        ask({"wide": encoded(WIDE)}, "yolov8n", documented("yolov8n")).predictions["wide"].answer
    )
    assert isinstance(found, Detections)
    (only,) = found.found
    assert only["box"] == pytest.approx(RED, abs=1)
    assert (only["class_id"], only["label"], only["score"]) == (17, "17", 0.9)


def test_hostile_answers_of_a_detector_cost_their_images_alone(ask: Ask) -> None:
    names = ("fine", "negative", "beyond", "nan box", "infinite", "no class", "unnamed class")
    images = {name: plain(level) for level, name in enumerate(names)}
    names_of_80 = "\n".join(map(str, range(80)))
    told = {**documented("efficientnms"), "postprocess.labels": names_of_80}
    found, letters = ask({**images, "photo": encoded(WIDE)}, "efficientnms", told)
    assert set(found) == {"fine", "photo"}
    answer = found["photo"].answer
    assert isinstance(answer, Detections)
    assert answer.found[0]["box"] == pytest.approx(RED, abs=5)
    assert {name: (one.stage, one.error_class) for name, one in letters.items()} == {
        "negative": ("infer", "bad_count"),
        "beyond": ("infer", "bad_count"),
        "nan box": ("infer", "not_finite"),
        "infinite": ("infer", "not_finite"),
        "no class": ("infer", "bad_class"),
        "unnamed class": ("infer", "bad_class"),
    }
    assert "-1" in letters["negative"].message
    assert "names 80 classes" in letters["unnamed class"].message


def test_answers_of_another_shape_or_dtype_are_dead_letters_with_both(ask: Ask) -> None:
    images = {
        name: plain(level, (8, 8))
        for level, name in enumerate(("fine", "longer", "double", "matrix", "two rows"))
    }
    found, letters = ask(images, "faulty", max_attempts="1")
    assert set(found) == {"fine"}
    told = {name: one.message for name, one in letters.items()}
    assert {one.stage for one in letters.values()} == {"infer"}
    assert "FP32 [1, 5], the model's configuration says [4] an image" in told["longer"]
    assert "FP64 [1, 4], the model's configuration says FP32" in told["double"]
    assert "FP32 [1, 2, 2], the model's configuration says [4] an image" in told["matrix"]
    assert "one row for each image" in told["two rows"]


def test_clip_is_known_for_an_embedder_by_the_name_of_its_output(ask: Ask) -> None:
    answer = (
        ask({"one": plain(200, (300, 400))}, "clip", documented("clip")).predictions["one"].answer
    )
    assert isinstance(answer, Embedding)
    mean = np.array((0.48145466, 0.4578275, 0.40821073))
    vector = np.zeros(512)
    vector[:3] = (200 / 255 - mean) / np.array((0.26862954, 0.26130258, 0.27577711))
    vector[3] = 1
    expected = vector / np.linalg.norm(vector)
    np.testing.assert_allclose(np.frombuffer(answer.values, FLOAT32), expected, atol=1e-5)


def picture(tensors: object) -> Image.Image:
    assert isinstance(tensors, Tensors)
    (output,) = tensors.outputs
    return Image.open(io.BytesIO(base64.b64decode(output["png_base64"])))


def test_a_mask_of_a_unet_is_a_png(ask: Ask) -> None:
    red = photo((96, 64), ("red", (10, 20, 40, 60)))
    found = ask({"one": encoded(red)}, "unet", documented("unet")).predictions
    mask = np.asarray(picture(found["one"].answer))
    expected = np.zeros((64, 96))
    expected[20:60, 10:40] = 1
    np.testing.assert_array_equal(mask, expected)


def test_channels_and_classes_may_come_last_and_sizes_be_open(ask: Ask) -> None:
    told = {
        "preprocess.normalize": "inception", "preprocess.size": "48x64", "preprocess.fit": "exact",
        "postprocess.task": "raw", "postprocess.encoding": "base64",
    }  # fmt: skip
    blue = photo((64, 48), ("blue", (10, 20, 40, 40)))
    found = ask({"one": encoded(blue)}, "keras_segmenter", told).predictions["one"].answer
    assert isinstance(found, Tensors)
    (output,) = found.outputs
    assert (output["datatype"], output["shape"]) == ("FP32", (48, 64, 3))
    values = np.frombuffer(base64.b64decode(output["data_base64"]), "<f4").reshape(48, 64, 3)
    expected = np.asarray(blue, np.float32) / np.float32(127.5) - 1
    np.testing.assert_array_equal(values, expected)


def test_grey_digits_are_told_apart_beside_an_optional_input_and_words(ask: Ask) -> None:
    images = {}
    for digit in range(10):
        pixels = np.zeros((28, 28), np.uint8)
        pixels[digit] = 255
        images[str(digit)] = encoded(Image.fromarray(pixels))
    found = ask(images, "mnist", documented("mnist")).predictions
    assert {name: one.top[0]["label"] for name, one in found.items()} == {
        str(digit): str(digit) for digit in range(10)
    }


def test_several_heads_of_logits_are_answered_side_by_side(ask: Ask) -> None:
    told = {
        **UNIT, "postprocess.outputs": "colour,kind", "postprocess.activation": "softmax",
        "postprocess.labels.colour": "red,green,blue", "postprocess.labels.kind": "shirt,shoe,bag",
    }  # fmt: skip
    red = encoded(Image.new("RGB", (32, 32), (255, 0, 0)))
    one = ask({"red": red}, "clothes", told).predictions["red"]
    assert [head["output"] for head in one.heads] == ["colour", "kind"]
    assert [head["top"][0]["label"] for head in one.heads] == ["red", "bag"]
    assert one.top == one.heads[0]["top"]
    e = np.exp(8.0)
    assert one.top[0]["score"] == pytest.approx(e / (e + 2), abs=1e-3)


def test_an_answer_that_is_too_large_for_a_message_is_a_dead_letter(ask: Ask) -> None:
    told = {**UNIT, "postprocess.task": "raw", "postprocess.encoding": "base64"}
    found, letters = ask({"white": plain(255, (32, 32))}, "clothes", told)
    assert not found
    assert letters["white"].error_class == "too_large"
    assert "postprocess.outputs" in letters["white"].message


def test_bfloat16_numbers_reach_the_model(ask: Ask) -> None:
    one = ask({"one": plain(51, (32, 32))}, "brain", UNIT).predictions["one"].answer
    assert isinstance(one, Embedding)
    np.testing.assert_allclose(np.frombuffer(one.values, FLOAT32), 0.2, atol=1e-3)
