"""A model is read from Triton, or refused with the reason."""

from typing import Any

import pytest

from bridge.tasks.classify import Classify
from bridge.tasks.task import Output
from bridge.triton.inputs import ModelInput
from bridge.triton.model import ModelSpec, UnservableModelError, read_spec
from imaging.rules import Preprocess


def metadata(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "net",
        "inputs": [{"name": "INPUT__0", "datatype": "UINT8", "shape": ["-1", "224", "224", "3"]}],
        "outputs": [{"name": "OUTPUT__0", "datatype": "FP32", "shape": ["-1", "1000"]}],
    }
    return base | changes


def config(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "max_batch_size": 64,
        "instance_group": [{"count": 2}, {"count": 1}],
        "parameters": {
            "preprocess.resize": {"string_value": "256"},
            "preprocess.color": {"string_value": "BGR"},
            "preprocess.fit": {"string_value": "letterbox"},
        },
    }
    return base | changes


def test_a_classifier_of_pixels_is_understood() -> None:
    assert read_spec(metadata(), config()) == ModelSpec(
        name="net", version="", input=ModelInput("INPUT__0", "UINT8", (224, 224, 3)),
        task=Classify(Output("OUTPUT__0", "FP32", (1000,)), 1000, top_k=3),
        max_batch=64, batched=True, instances=3,
        preprocess=Preprocess(256, "bilinear", bgr=True, fit="letterbox"),
    )  # fmt: skip


def test_a_model_of_encoded_images_is_understood() -> None:
    inputs = [{"name": "IMAGE", "datatype": "BYTES", "shape": ["-1", "1"]}]
    spec = read_spec(metadata(inputs=inputs), config())
    assert spec.shape is None


def test_an_ensemble_says_of_each_image_why_it_can_not_be_used() -> None:
    inputs = [{"name": "IMAGE", "datatype": "BYTES", "shape": ["-1", "1"]}]
    outputs = [
        {"name": "ERROR", "datatype": "BYTES", "shape": ["-1", "1"]},
        {"name": "OUT", "datatype": "FP32", "shape": ["-1", "10"]},
    ]
    steps = [{"instance_group": [{"count": 4}]}, {"instance_group": [{"count": 2}]}]
    ensemble = {"max_batch_size": 64}
    spec = read_spec(metadata(inputs=inputs, outputs=outputs), ensemble, steps=steps)
    assert (spec.task.outputs[0].name, spec.error_output, spec.instances) == ("OUT", "ERROR", 6)


@pytest.mark.parametrize(
    "other", [("ERRORS", "BYTES", 1), ("ERROR", "FP32", 1), ("ERROR", "BYTES", 7)]
)
def test_an_output_that_gives_no_reason_for_each_image_is_left_alone(
    other: tuple[str, str, int],
) -> None:
    name, datatype, size = other
    outputs = [
        {"name": "OUT", "datatype": "FP32", "shape": ["-1", "10"]},
        {"name": name, "datatype": datatype, "shape": ["-1", str(size)]},
    ]
    assert read_spec(metadata(outputs=outputs), config()).error_output is None


def test_a_model_without_batches_is_fed_one_at_a_time() -> None:
    inputs = [{"name": "IN", "datatype": "UINT8", "shape": ["32", "32", "3"]}]
    outputs = [{"name": "OUT", "datatype": "FP32", "shape": ["10"]}]
    spec = read_spec(metadata(inputs=inputs, outputs=outputs), config(max_batch_size=0))
    assert (spec.max_batch, spec.batched) == (1, False)


def pixels(datatype: str, *shape: int) -> list[dict[str, Any]]:
    return [{"name": "IN", "datatype": datatype, "shape": [-1, *shape]}]


@pytest.mark.parametrize(
    ("changes", "settings", "why"),
    [
        ({"inputs": pixels("INT32", 32, 32, 3)}, {}, "must be UINT8"),
        ({"inputs": pixels("FP32", 32, 32, 3)}, {}, "set preprocess.normalize = imagenet"),
        (
            {"inputs": pixels("UINT8", 32, 30)},
            {},
            r"rank 3: .* dims: \[ 1, 32, 30 \] reshape \{ shape: \[ 32, 30 \] \}",
        ),
        (
            {"inputs": pixels("FP32", 1, 3, 32, 30)},
            {},
            r"rank 3: .* dims: \[ 3, 32, 30 \] reshape \{ shape: \[ 1, 3, 32, 30 \] \}",
        ),
        (
            {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [8, 3, 32, 32]}]},
            {"max_batch_size": 0},
            "it takes 8 at a time: .* set max_batch_size",
        ),
        ({"inputs": pixels("FP32", 1, 28, 28)}, {}, "set preprocess.normalize = unit "),
        ({"inputs": pixels("UINT8", 99999, 32, 3)}, {}, "a side may have 16,384 pixels"),
        ({"inputs": pixels("UINT8", 32, 32, 4)}, {}, "must be 1 or 3: convert the colours"),
        ({"inputs": pixels("UINT8", 3, 32, 3)}, {}, "set preprocess.layout = NCHW"),
        ({"inputs": pixels("UINT8", -1, -1, 3)}, {}, "must be fixed"),
        ({"inputs": pixels("BYTES", 5)}, {}, "one encoded image"),
        (
            {"inputs": pixels("UINT8", 8, 8, 3) * 2},
            {},
            "one input, it has 2 .* ensemble .* optional: true",
        ),
        ({"outputs": pixels("INT64", 10)}, {}, "floating-point output"),
        ({"outputs": []}, {}, "it has: none"),
        (
            {},
            {"model_transaction_policy": {"decoupled": True}},
            "serve it without model_transaction_policy",
        ),
        ({}, {"sequence_batching": {}}, "stateful .* serve it with dynamic_batching"),
        ({}, {"parameters": {"preprocess.resize": {"string_value": "big"}}}, "preprocess.resize"),
        ({}, {"parameters": {"preprocess.color": {"string_value": "HSV"}}}, "preprocess.color"),
        ({}, {"parameters": {"preprocess.fit": {"string_value": "tight"}}}, "preprocess.fit"),
        (
            {},
            {"parameters": {"preprocess.interpolation": {"string_value": "magic"}}},
            "preprocess.interpolation",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(
    changes: dict[str, Any], settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(UnservableModelError, match=why):
        read_spec(metadata(**changes), config(**settings))
