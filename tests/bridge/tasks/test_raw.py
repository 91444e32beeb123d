"""Tensors as bytes and masks as pictures: exact, bounded, and refused where they are none."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bridge.tasks.raw import Raw, read_raw
from bridge.tasks.task import AnswerError, Output
from imaging.rules import Shape
from wire.answers import Tensors
from wire.prediction import MAX_PREDICTION
from wire.tensors import OutputTensor, read_tensor

RNG = np.random.default_rng(3)


def refuse(why: str) -> Exception:
    return LookupError(why)


def one(output: Output, values: npt.NDArray[Any], encoding: str) -> OutputTensor:
    """An image's tensor, and that its readers read it."""
    (found,) = Raw((output,), encoding).read({output.name: values[np.newaxis]}, [None])
    assert isinstance(found, Tensors), found
    (made,) = found.outputs
    assert read_tensor(dict(made)) == made
    return made


def problem(output: Output, values: npt.NDArray[Any], encoding: str) -> str:
    (found,) = Raw((output,), encoding).read({output.name: values[np.newaxis]}, [None])
    assert isinstance(found, AnswerError)
    return found.kind


def pixels(made: OutputTensor) -> npt.NDArray[Any]:
    with Image.open(io.BytesIO(base64.b64decode(made["png_base64"]))) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [("FP32", "<f4"), ("FP16", "<f2"), ("INT64", "<i8"), ("UINT8", "u1"), ("BOOL", "?")],
)
def test_bytes_of_a_tensor_are_its_values(datatype: str, dtype: str) -> None:
    values = (RNG.standard_normal((3, 5)) * 100).astype(dtype)
    made = one(Output("out", datatype, (3, -1)), values, "base64")
    found = np.frombuffer(base64.b64decode(made["data_base64"]), dtype).reshape(made["shape"])
    np.testing.assert_array_equal(found, values)


def test_bytes_of_a_bfloat16_are_those_that_came() -> None:
    bits = np.array([0x3F80, 0xC2F7, 0], "<u2")  # what Triton sent, and what of it is read
    read = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    made = one(Output("out", "BF16", (3,)), read, "base64")
    assert base64.b64decode(made["data_base64"]) == bits.tobytes()


def test_strings_are_behind_their_lengths() -> None:
    texts = np.array([b"a\xff", b""], object)
    made = one(Output("out", "BYTES", (2,)), texts, "base64")
    assert base64.b64decode(made["data_base64"]) == b"\x02\0\0\0a\xff\0\0\0\0"


@pytest.mark.parametrize(
    ("datatype", "dims", "most", "said"),
    [
        ("UINT8", (20, 30), 255, "UINT8"),
        ("INT64", (1, 20, 30), 20, "UINT8"),
        ("INT32", (20, 30), 65535, "UINT16"),
        ("BOOL", (20, 30), 1, "UINT8"),
    ],
)
def test_a_mask_is_a_picture_of_its_classes(
    datatype: str, dims: tuple[int, ...], most: int, said: str
) -> None:
    values = RNG.integers(0, most + 1, dims)
    values.flat[0] = most
    made = one(Output("mask", datatype, dims), values, "png")
    assert (made["datatype"], made["shape"]) == (said, (20, 30))
    np.testing.assert_array_equal(pixels(made), values.reshape(20, 30))


def test_scores_of_classes_become_the_best_class_of_each_pixel() -> None:
    scores = RNG.standard_normal((21, 16, 12)).astype(np.float32)
    made = one(Output("scores", "FP32", (21, -1, -1)), scores, "png")
    np.testing.assert_array_equal(pixels(made), scores.argmax(0))


def test_what_is_no_mask_goes_as_bytes_beside_one() -> None:
    outputs = (Output("mask", "UINT8", (2, 2)), Output("vector", "FP32", (3,)))
    (found,) = Raw(outputs, "png").read(
        {"mask": np.ones((1, 2, 2), np.uint8), "vector": np.ones((1, 3), np.float32)}, [None]
    )
    assert isinstance(found, Tensors)
    mask, vector = found.outputs
    assert "png_base64" in mask
    assert "data_base64" in vector


def test_a_large_mask_fits_into_a_prediction() -> None:
    values = np.zeros((2000, 2000), np.uint8)
    values[300:700, 100:900] = 7
    made = one(Output("mask", "UINT8", (-1, -1)), values, "png")
    assert len(made["png_base64"]) < MAX_PREDICTION / 10


@pytest.mark.parametrize(
    ("output", "values", "encoding", "kind"),
    [
        (Output("o", "INT32", (2, 2)), np.array([[0, 0], [0, -1]]), "png", "bad_class"),
        (Output("o", "INT32", (2, 2)), np.array([[0, 0], [0, 65536]]), "png", "bad_class"),
        (Output("o", "UINT8", (-1, -1)), np.zeros((0, 9), np.uint8), "png", "bad_shape"),
        (Output("o", "UINT8", (-1, -1)), np.zeros((1, 20000), np.uint8), "png", "too_large"),
        (Output("o", "UINT8", (-1, -1)), RNG.integers(0, 256, (1024, 1024), np.uint8), "png",
         "too_large"),
        (Output("o", "FP32", (2, 1, 1)), np.array([[[np.nan]], [[1]]]), "png", "not_finite"),
        (Output("o", "FP32", (2,)), np.array([np.inf, 0], np.float32), "base64", "not_finite"),
        (Output("o", "FP32", (-1,)), np.zeros(200_000, np.float32), "base64", "too_large"),
        (Output("o", "BYTES", (1,)), np.array([bytes(1 << 20)], object), "base64", "too_large"),
        (Output("o", "BYTES", (1,)), np.array([bytes(1 << 20)], object), "list", "too_large"),
    ],
)  # fmt: skip
def test_an_output_that_no_prediction_can_hold_is_told(
    output: Output, values: npt.NDArray[Any], encoding: str, kind: str
) -> None:
    assert problem(output, values, encoding) == kind


def test_the_bound_is_that_of_all_outputs_together() -> None:
    outputs = tuple(Output(name, "UINT8", (-1,)) for name in "ab")
    half = np.zeros((1, 500_000), np.uint8)
    (found,) = Raw(outputs, "base64").read({"a": half, "b": half}, [None])
    assert isinstance(found, AnswerError)


@pytest.mark.parametrize(
    ("output", "encoding", "complaint"),
    [
        (Output("o", "FP32", (3,)), "png", r"is for masks: .* outputs are o FP32 \[3\]"),
        (Output("o", "FP32", (1000,)), "jpeg", "expected one of list, base64, png"),
        (Output("o", "FP32", (512, 512)), "base64", "at least 1,398,104 bytes"),
        (Output("o", "UINT8", (10_000, 10_000)), "png", "100,000,000 pixels, 16,777,216"),
    ],
)
def test_what_can_never_be_told_is_refused_at_start(
    output: Output, encoding: str, complaint: str
) -> None:
    with pytest.raises(LookupError, match=complaint):
        read_raw([output], None, {"postprocess.encoding": encoding}, refuse)


def mask_of(
    output: Output, values: npt.NDArray[Any], *, image: Shape | None = None, **told: str
) -> npt.NDArray[Any]:
    text = {"postprocess.encoding": "png"} | {f"postprocess.{k}": v for k, v in told.items()}
    task = read_raw([output], image, text, refuse)
    (found,) = task.read({output.name: values[np.newaxis]}, [None])
    assert isinstance(found, Tensors), found
    return pixels(found.outputs[0])


@pytest.mark.parametrize("dims", [(1, 20, 30), (20, 30), (20, 30, 1)])
def test_a_mask_of_one_class_is_where_its_score_is_high_enough(dims: tuple[int, ...]) -> None:
    scores = RNG.random((20, 30), np.float32)
    output, image = Output("o", "FP32", dims), (20, 30, 3)
    values = scores.reshape(dims)
    np.testing.assert_array_equal(mask_of(output, values, image=image), scores >= 0.5)
    low = mask_of(output, values, image=image, score_threshold="0.1")
    np.testing.assert_array_equal(low, scores >= 0.1)
    logits = np.log(scores / (1 - scores)).reshape(dims)
    found = mask_of(output, logits, image=image, activation="sigmoid", score_threshold="0.25")
    np.testing.assert_array_equal(found, 1 / (1 + np.exp(-logits.reshape(20, 30))) >= 0.25)


def test_classes_may_come_last_where_the_input_shows_it() -> None:
    scores = RNG.random((20, 30, 5), np.float32)
    output = Output("o", "FP32", (20, 30, 5))
    np.testing.assert_array_equal(mask_of(output, scores, image=(20, 30, 3)), scores.argmax(axis=2))
    turned = Output("o", "FP32", (5, 20, 30))
    found = mask_of(turned, scores.transpose(2, 0, 1), image=(20, 30, 3))
    np.testing.assert_array_equal(found, scores.argmax(axis=2))
    half = Output("o", "FP32", (-1, -1, -1))  # and where nothing does, first
    np.testing.assert_array_equal(mask_of(half, scores, image=(20, 30, 3)), scores.argmax(axis=0))


def test_what_is_told_for_another_task_is_left_alone() -> None:
    output = Output("o", "FP32", (10,))
    task = read_raw([output], None, {"postprocess.activation": "softmax"}, refuse)
    assert task.outputs == (output,)
