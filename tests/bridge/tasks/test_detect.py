"""Detections of every layout, in the pixels of the image that was sent."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bridge.tasks.detect import Detect, read_detect
from bridge.tasks.layouts import LAYOUTS
from bridge.tasks.task import AnswerError, Output
from imaging.geometry import geometry
from imaging.rules import Preprocess, Shape, Size
from wire.answers import Detections

SHAPE = (100, 200, 3)
PLAIN = Preprocess()


def refuse(why: str) -> Exception:
    return LookupError(why)


def outputs(**dims: tuple[int, ...]) -> list[Output]:
    return [Output(name, "FP32", sizes) for name, sizes in dims.items()]


TORCHVISION = outputs(boxes=(-1, 4), labels=(-1,), scores=(-1,))
EFFICIENT = outputs(num_dets=(1,), det_boxes=(5, 4), det_scores=(5,), det_classes=(5,))
YOLO = outputs(output0=(7, 50))


def detector(
    found: list[Output], shape: Shape | None = SHAPE, fit: Preprocess = PLAIN, **told: Any
) -> Detect:
    text = {f"postprocess.{key}": value for key, value in told.items()}
    return read_detect(found, "outputs" in told, shape, fit, text, refuse)


def read(task: Detect, size: Size | None = None, **tensors: Any) -> Any:
    answered = {
        name: np.asarray(values, np.float32)[np.newaxis] for name, values in tensors.items()
    }
    (result,) = task.read(answered, [size])
    return result


def test_torchvisions_three_tensors() -> None:
    task = detector(TORCHVISION, labels="background, cat, dog")
    found = read(
        task,
        boxes=[[1, 2, 30, 40], [5, 5, 6, 6], [50, 60, 70, 80]],
        labels=[2, 1, 0],
        scores=[0.5, 0.1, 0.9],
    )
    assert found == Detections(
        (
            {"label": "background", "class_id": 0, "score": 0.9, "box": [50, 60, 70, 80]},
            {"label": "dog", "class_id": 2, "score": 0.5, "box": [1, 2, 30, 40]},
        ),
        {"width": 200, "height": 100},
    )


def test_a_class_without_a_name_among_names_is_no_answer() -> None:
    boxes, scores = [[1, 2, 30, 40], [50, 60, 70, 80]], [0.5, 0.9]
    task = detector(TORCHVISION, labels="background, cat, dog")
    wrong = read(task, boxes=boxes, labels=[2, 9], scores=scores)
    assert isinstance(wrong, AnswerError)
    assert wrong.kind == "bad_class"
    assert "class 9, and postprocess.labels names 3 classes" in str(wrong)
    filling = read(task, boxes=boxes, labels=[2, 9], scores=[0.5, 0.0])
    assert [one["label"] for one in filling.found] == ["dog"]
    numbered = read(detector(TORCHVISION), boxes=boxes, labels=[2, 9], scores=scores)
    assert [one["label"] for one in numbered.found] == ["9", "2"]


def test_of_counted_outputs_what_is_behind_the_count_is_filling() -> None:
    boxes = [[0, 0, 10, 10], [20, 20, 40, 40], *[[np.nan] * 4] * 3]
    found = read(
        detector(EFFICIENT),
        num_dets=[2], det_boxes=boxes, det_scores=[0.9, 0.8, np.nan, 1, 1],
        det_classes=[1, 0, -5, -5, -5],
    )  # fmt: skip
    assert [one["class_id"] for one in found.found] == [1, 0]
    for count in ([6], [-1], [np.nan]):
        wrong = read(
            detector(EFFICIENT), num_dets=count, det_boxes=np.zeros((5, 4)),
            det_scores=np.zeros(5), det_classes=np.zeros(5),
        )  # fmt: skip
        assert isinstance(wrong, AnswerError)


def yolo_rows() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Fifty boxes of three classes: two of one object, one of another class at the same place."""
    rows = np.zeros((50, 7), np.float32)
    rows[0] = (50, 50, 20, 10, 0.9, 0.05, 0)
    rows[1] = (51, 50, 20, 10, 0.8, 0.05, 0)
    rows[2] = (50, 50, 20, 10, 0, 0, 0.7)
    rows[3] = (150, 20, 30, 30, 0, 0.2, 0)
    return rows


@pytest.mark.parametrize("turned", [False, True])
def test_yolos_tensor_is_chosen_from_whichever_way_it_is_turned(turned: bool) -> None:
    rows = yolo_rows()
    task = detector(outputs(output0=(50, 7) if turned else (7, 50)), layout="yolov8")
    found = read(task, output0=rows if turned else rows.T)
    assert [(one["class_id"], one["box"]) for one in found.found] == [
        (0, [40, 45, 60, 55]),
        (2, [40, 45, 60, 55]),
    ]
    low = detector(YOLO, layout="yolov8", score_threshold="0.1", iou_threshold="1")
    assert len(read(low, output0=rows.T).found) == 4


def test_yolov5_multiplies_by_its_objectness_and_yolov10_needs_no_choice() -> None:
    rows = np.insert(yolo_rows(), 4, 0.5, axis=1)
    found = read(detector(outputs(out=(50, 8)), layout="yolov5"), out=rows)
    assert [(one["class_id"], one["score"]) for one in found.found] == [(0, 0.45), (2, 0.35)]
    done = np.array([[1, 2, 3, 4, 0.9, 2], [1, 2, 3, 4, 0.8, 2], [0, 0, 0, 0, 0, 0]], np.float32)
    found = read(detector(outputs(out=(3, 6)), layout="yolov10"), out=done)
    assert [one["score"] for one in found.found] == [0.9, 0.8]


def test_logits_are_turned_into_scores_where_that_is_told() -> None:
    rows = yolo_rows()
    rows[:, 4:] = -9
    rows[0, 4] = 2
    (one,) = read(detector(YOLO, layout="yolov8", activation="sigmoid"), output0=rows.T).found
    assert one["score"] == pytest.approx(torch.tensor(2.0).sigmoid().item(), abs=1e-6)


@pytest.mark.parametrize(
    ("told", "box"),
    [
        ({}, (20, 10, 60, 50)),
        ({"boxes": "centre"}, (40, 30, 40, 40)),
        ({"boxes": "corner_size"}, (20, 10, 40, 40)),
        ({"boxes": "corners_yx"}, (10, 20, 50, 60)),
        ({"coordinates": "unit"}, (0.1, 0.1, 0.3, 0.5)),
        ({"coordinates": "unit", "boxes": "centre"}, (0.2, 0.3, 0.2, 0.4)),
    ],
)
def test_boxes_in_any_notation_are_the_same_box(told: dict[str, Any], box: Any) -> None:
    (one,) = read(detector(TORCHVISION, **told), boxes=[box], labels=[1], scores=[1]).found
    assert one["box"] == pytest.approx([20, 10, 60, 50], abs=0.01)


@pytest.mark.parametrize(
    "fit",
    [
        Preprocess(fit="letterbox"),
        Preprocess(fit="exact"),
        Preprocess(resize=120),
        Preprocess(fit="cover"),
    ],
    ids=["letterbox", "exact", "resize and crop", "cover"],
)
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (200, 100), (90, 70), (1000, 301)])
def test_a_box_of_the_image_goes_into_the_input_and_comes_back(fit: Preprocess, size: Size) -> None:
    """A picture with one white rectangle goes the whole way in; its box is found there."""
    from PIL import Image  # noqa: PLC0415

    from imaging.fit import fit as into_input  # noqa: PLC0415
    from imaging.rules import ImageRules  # noqa: PLC0415

    width, height = size
    box = (round(width * 0.4), round(height * 0.4), round(width * 0.7), round(height * 0.6))
    picture = Image.new("RGB", size)
    picture.paste((255, 255, 255), box)
    pixels = into_input(picture, ImageRules(SHAPE, fit, 1 << 20, 1 << 20))
    rows, columns = (pixels[:, :, 0] > 200).any(axis=1), (pixels[:, :, 0] > 200).any(axis=0)
    at = [columns.argmax(), rows.argmax(), len(columns) - columns[::-1].argmax()]
    seen = [*at, len(rows) - rows[::-1].argmax()]
    task = detector(TORCHVISION, fit=fit)
    (one,) = read(task, size, boxes=[seen], labels=[1], scores=[1]).found
    pixel = [1.6 / scale for scale in geometry(size, SHAPE, fit).scale] * 2
    assert all(abs(a - b) <= near for a, b, near in zip(one["box"], box, pixel, strict=True))


def test_a_box_in_the_border_is_left_out_and_one_that_reaches_into_it_is_cut() -> None:
    task = detector(TORCHVISION, fit=Preprocess(fit="letterbox"))
    found = read(
        task, (100, 100), boxes=[[0, 0, 40, 90], [40, 10, 80, 60]], labels=[1, 1], scores=[1, 0.9]
    )
    assert [one["box"] for one in found.found] == [[0, 10, 30, 60]]


def test_boxes_of_a_model_that_gets_the_encoded_image_are_passed_on() -> None:
    found = read(
        detector(TORCHVISION, shape=None), boxes=[[5, 5, 900, 900]], labels=[1], scores=[1]
    )
    assert found.image is None
    assert found.found[0]["box"] == [5, 5, 900, 900]


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"layout": "ssd"}, "postprocess.layout is 'ssd', expected one of torchvision"),
        ({"score_threshold": "2"}, "postprocess.score_threshold is 2.0"),
        ({"max_detections": "0"}, "postprocess.max_detections must be from 1 to 1000"),
        ({"max_detections": "1.5"}, "postprocess.max_detections must be from 1 to 1000"),
        ({"boxes": "polar"}, "postprocess.boxes"),
        ({"layout": "efficientnms"}, "needs the outputs num_dets, boxes, scores, classes"),
    ],
)
def test_what_cannot_be_a_detector_is_refused(told: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LookupError, match=complaint):
        detector(TORCHVISION, **told)


def test_outputs_of_any_name_can_be_told() -> None:
    names = outputs(OUTPUT__0=(-1, 4), OUTPUT__1=(-1,), OUTPUT__2=(-1,))
    with pytest.raises(LookupError, match=r"set postprocess.outputs to their names"):
        detector(names)
    assert detector(names, outputs="told").roles == tuple(names)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(st.data())
def test_whatever_a_model_answers_is_detections_or_a_reason(
    layout: str, data: st.DataObject
) -> None:
    roles = LAYOUTS[layout].roles
    task = Detect(
        tuple(Output(role, "FP32", ()) for role in roles), layout, SHAPE, Preprocess(fit="exact"),
        "centre" if LAYOUTS[layout].nms else "corners", False, LAYOUTS[layout].nms,
        score_threshold=0.0,
    )  # fmt: skip
    shapes = arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=8)
    numbers = st.floats(width=32) | st.floats(0, 1, width=32)
    answered = {
        role: data.draw(arrays.arrays(np.float32, shapes, elements=numbers))[np.newaxis]
        for role in roles
    }
    (result,) = task.read(answered, [(640, 480)])
    if isinstance(result, AnswerError):
        assert str(result)
        return
    assert isinstance(result, Detections)
    for one in result.found:
        left, top, right, bottom = one["box"]
        assert 0 <= left <= right <= 640
        assert 0 <= top <= bottom <= 480
        assert np.isfinite(one["score"])


@pytest.mark.parametrize(
    ("layout", "dims"),
    [
        ("yolov8", (4, 8400)), ("yolov8", (84,)), ("yolov8", (2, 84, 8400)), ("yolov5", (8400, 5)),
        ("yolov10", (300, 7)), ("yolov10", (6,)),
    ],
)  # fmt: skip
def test_a_tensor_that_can_never_be_of_its_layout_is_refused_at_start(
    layout: str, dims: tuple[int, ...]
) -> None:
    with pytest.raises(LookupError, match=r"set postprocess\.layout to another"):
        detector([Output("output0", "FP32", dims)], layout=layout)


@pytest.mark.parametrize(
    ("dims", "layout"),
    [((84, 8400), "yolov8"), ((8400, 84), "yolov8"), ((6, 8400), "yolov8"), ((-1, -1), "yolov8"),
     ((300, 6), "yolov10"), ((-1, 6), "yolov10")],
)  # fmt: skip
def test_the_sizes_of_a_single_tensor_show_whether_its_boxes_are_chosen(
    dims: tuple[int, ...], layout: str
) -> None:
    assert detector([Output("output0", "FP32", dims)]).layout == layout
