"""Classification from numbers, vectors, and tensors as they are; and which of them a model does."""

import numpy as np
import pytest
import torch

from bridge.tasks.classify import Classify, read_classify
from bridge.tasks.embed import Embed
from bridge.tasks.raw import Raw
from bridge.tasks.select import read_task
from bridge.tasks.task import AnswerError, Heads, Output, Task
from imaging.rules import Preprocess
from wire.answers import FLOAT32, Embedding, Tensors

RNG = np.random.default_rng(5)
OUT = Output("out", "FP32", (1000, 1, 1))


def refuse(why: str) -> Exception:
    return LookupError(why)


def test_logits_become_the_probabilities_that_torch_gives() -> None:
    task = read_classify(OUT, 5, {"postprocess.activation": "softmax"}, refuse)
    logits = (RNG.standard_normal((4, 1000, 1, 1)) * 10).astype(np.float32)
    results = task.read({"out": logits}, [None] * 4)
    scores, places = torch.from_numpy(logits).reshape(4, -1).double().softmax(1).topk(5)
    for row, result in enumerate(results):
        assert isinstance(result, tuple)
        assert [one["class_id"] for one in result] == places[row].tolist()
        assert [one["score"] for one in result] == pytest.approx(scores[row].tolist(), abs=1e-6)
        assert [one["label"] for one in result] == [str(place) for place in places[row].tolist()]


def test_a_row_with_a_number_that_is_none_costs_that_image_alone() -> None:
    task = read_classify(OUT, 5, {"postprocess.activation": "softmax"}, refuse)
    logits = np.zeros((3, 1000, 1, 1), np.float32)
    logits[1, 7] = np.nan
    kinds = [getattr(one, "kind", "answer") for one in task.read({"out": logits}, [None] * 3)]
    assert kinds == ["answer", "not_finite", "answer"]


def test_huge_logits_are_no_overflow() -> None:
    task = read_classify(
        Output("out", "FP32", (2,)), 2, {"postprocess.activation": "softmax"}, refuse
    )
    (top,) = task.read({"out": np.array([[3e38, -3e38]], np.float32)}, [None])
    assert isinstance(top, tuple)
    assert [one["score"] for one in top] == [1, 0]


def test_labels_that_are_told_win_over_tritons() -> None:
    text = {"postprocess.labels": "cat\ndog, or so\n"}
    task = read_classify(Output("out", "FP32", (-1,)), 3, text, refuse)
    (top,) = task.read({"out": [[b"0.5:1:one", b"0.3:0", b"0.2:2:two"]]}, [None])
    assert isinstance(top, tuple)
    assert [one["label"] for one in top] == ["dog, or so", "cat", "two"]


def test_fewer_labels_than_classes_are_refused_at_start() -> None:
    with pytest.raises(LookupError, match=r"names 2 classes, and output out FP32 \[3\] has 3"):
        read_classify(Output("out", "FP32", (3,)), 3, {"postprocess.labels": "cat,dog"}, refuse)
    for dims in ((7, 8400), (8400, 7)):
        with pytest.raises(LookupError, match="names 2 classes, and the model has 3"):
            choose([Output("output0", "FP32", dims)], "detect", labels="cat,dog", layout="yolov8")


@pytest.mark.parametrize(
    ("name", "task"), [("image_embeds", "embed"), ("Embedding", "embed"), ("scores", "classify")]
)
def test_a_vector_is_known_by_its_name(name: str, task: str) -> None:
    assert choose([Output(name, "FP32", (512,))]).name == task


def test_tritons_own_classification_is_asked_for_no_more_classes_than_there_are() -> None:
    (asked,) = read_classify(Output("out", "FP32", (10, 1)), 30, {}, refuse).outputs
    assert asked.classes == 10
    (asked,) = read_classify(Output("out", "FP32", (-1,)), 30, {}, refuse).outputs
    assert asked.classes == 30


def test_a_vector_keeps_its_numbers_or_gets_the_length_one() -> None:
    rows = RNG.standard_normal((3, 16, 1, 1)).astype(np.float32)
    output = Output("out", "FP32", (16, 1, 1))
    for unit, expected in (
        (False, torch.from_numpy(rows).flatten(1)),
        (True, torch.nn.functional.normalize(torch.from_numpy(rows).flatten(1))),
    ):
        for result, wanted in zip(
            Embed(output, unit, "base64").read({"out": rows}, [None] * 3), expected, strict=True
        ):
            assert isinstance(result, Embedding)
            values = np.frombuffer(result.values, FLOAT32)
            np.testing.assert_allclose(values, wanted.numpy(), rtol=0 if not unit else 1e-6)


def test_a_vector_that_is_none_is_refused() -> None:
    rows = np.array([[0, 0], [np.inf, 1], [1, 1]], np.float32)
    found = Embed(Output("out", "FP32", (2,)), True, "list").read({"out": rows}, [None] * 3)
    assert [getattr(one, "kind", "answer") for one in found] == [
        "no_direction", "not_finite", "answer",
    ]  # fmt: skip
    large = np.full((1, 2), 1e300)
    (found_large,) = Embed(Output("out", "FP64", (2,)), False, "list").read({"out": large}, [None])
    assert isinstance(found_large, AnswerError)


def test_raw_outputs_are_kserves_json() -> None:
    outputs = (Output("a", "FP32", (2, 2)), Output("b", "BYTES", (1,)), Output("c", "INT64", (1,)))
    texts = np.empty((1, 1), object)
    texts[0, 0] = b"text \xff"
    (result,) = Raw(outputs).read(
        {
            "a": np.array([[[1, 2], [3, 4.5]]], np.float32),
            "b": texts,
            "c": np.array([[1 << 60]]),
        },
        [None],
    )
    assert isinstance(result, Tensors)
    assert [
        (one["name"], one["datatype"], one["shape"], one["data"]) for one in result.outputs
    ] == [
        ("a", "FP32", (2, 2), [1, 2, 3, 4.5]),
        ("b", "BYTES", (1,), ["text \ufffd"]),
        ("c", "INT64", (1,), [1 << 60]),
    ]


def test_raw_outputs_that_no_prediction_can_hold_are_refused() -> None:
    mask = Output("mask", "FP32", (1024, 1024))
    with pytest.raises(LookupError, match=r"at least 2,097,152 bytes .* postprocess.outputs"):
        choose([mask], asked="raw")
    (result,) = Raw([Output("mask", "UINT8", (-1, -1))]).read(
        {"mask": np.zeros((1, 1024, 1024), np.uint8)}, [None]
    )
    assert isinstance(result, AnswerError)
    assert result.kind == "too_large"


def choose(found: list[Output], asked: str = "auto", **told: str) -> Task:
    text = {f"postprocess.{key}": value for key, value in told.items()}
    return read_task(
        found, asked=asked, top_k=3, shape=(8, 8, 3), preprocess=Preprocess(), text=text,
        refuse=refuse,
    )  # fmt: skip


BOXES = [Output("boxes", "FP32", (-1, 4)), Output("labels", "INT64", (-1,))]


@pytest.mark.parametrize(
    ("outputs", "told", "task"),
    [
        ([OUT], {}, "classify"),
        ([Output("mask", "FP32", (8, 8)), OUT], {}, "classify"),
        ([*BOXES, Output("scores", "FP32", (-1,))], {}, "detect"),
        ([OUT], {"task": "embed"}, "embed"),
        ([OUT], {"task": "raw"}, "raw"),
        ([OUT], {"asked": "raw", "task": "embed"}, "raw"),
        ([Output("output0", "FP32", (84, 8400))], {"task": "detect"}, "detect"),
    ],
)
def test_the_task_is_what_is_told_else_what_the_outputs_show(
    outputs: list[Output], told: dict[str, str], task: str
) -> None:
    assert choose(outputs, **told).name == task


@pytest.mark.parametrize(
    ("outputs", "told", "complaint"),
    [
        ([Output("output0", "FP32", (84, 8400))], {}, r"set postprocess.task = detect"),
        ([Output("out", "INT64", (1,))], {}, "floating-point output"),
        ([], {}, "it has: none"),
        ([], {"task": "raw"}, "it has no output"),
        ([OUT], {"task": "segment"}, "postprocess.task is 'segment', expected one of auto"),
        ([OUT], {"outputs": "in"}, "postprocess.outputs names 'in', the outputs are out"),
        ([OUT], {"activation": "relu"}, "postprocess.activation"),
        ([OUT], {"task": "embed", "normalize": "l3"}, "postprocess.normalize"),
    ],
)
def test_what_no_task_fits_is_refused_with_what_to_tell(
    outputs: list[Output], told: dict[str, str], complaint: str
) -> None:
    with pytest.raises(LookupError, match=complaint):
        choose(outputs, **told)


HEADS = [Output("shape", "FP32", (3,)), Output("colour", "FP32", (2, 1, 1))]


def test_the_heads_of_a_classifier_are_told_one_beside_the_other() -> None:
    task = choose(
        HEADS, outputs="shape,colour", **{"labels.shape": "a,b,c", "labels.colour": "red,blue"}
    )
    assert [one.classes for one in task.outputs] == [3, 2]
    tops = {"shape": [[b"0.9:2", b"0.1:0"]], "colour": [[b"0.7:1:x"]]}
    (found,) = task.read(tops, [None])
    assert isinstance(found, Heads)
    assert [(one["output"], [top["label"] for top in one["top"]]) for one in found.heads] == [
        ("shape", ["c", "a"]),
        ("colour", ["blue"]),
    ]


def test_a_head_that_answers_wrongly_costs_its_image_alone() -> None:
    task = choose(HEADS, outputs="colour,shape", activation="softmax")
    shapes, colours = np.zeros((3, 3), np.float32), np.zeros((3, 2, 1, 1), np.float32)
    shapes[1, 2] = np.inf
    found = task.read({"shape": shapes, "colour": colours}, [None] * 3)
    assert [getattr(one, "kind", "answer") for one in found] == ["answer", "not_finite", "answer"]


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"labels": "a,b,c"}, r"name them in postprocess.labels.shape, postprocess.labels.colour"),
        ({"labels.size": "a"}, "names the classes of no output"),
        ({"labels.shape": "a", "task": "embed"}, "the task is embed"),
    ],
)
def test_labels_of_heads_that_cannot_be_meant_are_refused(
    told: dict[str, str], complaint: str
) -> None:
    with pytest.raises(LookupError, match=complaint):
        choose(HEADS, outputs="shape,colour", **told)


def test_a_named_output_without_classes_is_no_head() -> None:
    mask = Output("mask", "FP32", (8, 8))
    with pytest.raises(LookupError, match=r"output mask .* has no classes"):
        choose([*HEADS, mask], outputs="shape,mask")


def test_one_of_several_outputs_can_be_chosen() -> None:
    two = [Output("first", "FP32", (3,)), Output("second", "FP32", (4,))]
    task = choose(two, outputs="second")
    assert isinstance(task, Classify)
    assert (task.output.name, task.classes) == ("second", 4)
