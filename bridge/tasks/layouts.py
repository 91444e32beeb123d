"""The forms in which detectors give their boxes, and how each is read for one image. Pure."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.tasks.classify import activate
from bridge.tasks.task import AnswerError, finite

Array = npt.NDArray[Any]


class Candidates(NamedTuple):
    """All boxes that a model gives for one image, before the best are chosen.

    Attributes:
        boxes: float32 [n, 4], in the corners or centres that the model gives.
        scores: float32 [n].
        classes: int64 [n].
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


class Layout(NamedTuple):
    """One form of a detector's outputs.

    Attributes:
        roles: the roles of its outputs, in the order in which `postprocess.outputs` names them.
        names: known output names for each role.
        boxes: the order of a box's numbers, unless the parameters name another.
        nms: whether overlapping boxes must still be removed.
        read: makes candidates from one image's outputs, in the order of the roles, and the
            activation for the scores of single-tensor layouts.
        classes: returns the number of classes from the sizes of the first output; None: they do
            not give it.
        columns: fewest and most numbers in a row of a single-tensor layout; 0: any number.
    """

    roles: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    boxes: str
    nms: bool
    read: Callable[[Sequence[Array], str], Candidates]
    classes: Callable[[Sequence[int]], int | None] | None = None
    columns: tuple[int, int] = (0, 0)

    def fits(self, dims: Sequence[int]) -> bool:
        """Whether a single-tensor layout's output can have these sizes; -1 stands for any size."""
        fewest, most = self.columns
        if not fewest:
            return True
        known = dims[1:] if most else dims
        return len(dims) == 2 and all(
            size == -1 or (size >= fewest and size <= (most or size)) for size in known
        )


def _whole(classes: Array) -> npt.NDArray[np.int64]:
    """Class ids; some models give them as floating-point numbers."""
    numbers = classes.reshape(-1)
    finite(numbers, "classes")
    if len(numbers) and (numbers.min() < 0 or numbers.max() > 1 << 31):
        raise AnswerError("bad_class", "the model gives classes that are no class ids")
    return numbers.astype(np.int64)


def _boxes(values: Array) -> Array:
    if values.size % 4:
        raise AnswerError(
            "bad_shape", f"the model gives boxes {list(values.shape)}, not of 4 sides"
        )
    return values.reshape(-1, 4)


def _candidates(boxes: Array, scores: Array, classes: Array) -> Candidates:
    boxes, scores = _boxes(boxes), scores.reshape(-1)
    if not len(boxes) == len(scores) == classes.size:
        raise AnswerError(
            "bad_shape",
            f"the model gives {len(boxes)} boxes, {len(scores)} scores and {classes.size} classes",
        )
    finite(scores, "scores")
    finite(boxes, "boxes")
    return Candidates(boxes.astype(np.float32), scores.astype(np.float32), _whole(classes))


def _torchvision(outputs: Sequence[Array], _: str) -> Candidates:
    boxes, classes, scores = outputs
    return _candidates(boxes, scores, classes)


def _counted(outputs: Sequence[Array], _: str) -> Candidates:
    """Candidates from the first boxes, as many as the count says; the rest is padding."""
    number, boxes, scores, classes = outputs
    finite(number, "number of detections")
    if number.size != 1 or not 0 <= int(number.reshape(-1)[0]) <= scores.size:
        raise AnswerError(
            "bad_count", f"the model counts {number.tolist()} detections of {scores.size}"
        )
    count = int(number.reshape(-1)[0])
    boxes, scores, classes = _boxes(boxes), scores.reshape(-1), classes.reshape(-1)
    return _candidates(boxes[:count], scores[:count], classes[:count])


def _rows(tensor: Array, least: int) -> Array:
    """A matrix with one box in each row; it is transposed if it has more columns than rows.

    Raises:
        AnswerError: a row has too few numbers for a box.
    """
    if tensor.ndim != 2:
        raise AnswerError("bad_shape", f"the model gives {list(tensor.shape)}, a matrix is needed")
    rows = tensor if tensor.shape[0] >= tensor.shape[1] else tensor.T
    if rows.shape[1] < least:
        raise AnswerError("bad_shape", f"the model gives rows of {rows.shape[1]}, at least {least}")
    finite(rows, "output")
    return rows


def _yolov8(outputs: Sequence[Array], activation: str) -> Candidates:
    rows = _rows(outputs[0], 5)
    return _best_classes(rows[:, :4], activate(rows[:, 4:], activation))


def _yolov5(outputs: Sequence[Array], activation: str) -> Candidates:
    rows = _rows(outputs[0], 6)
    scores = activate(rows[:, 4:], activation)
    return _best_classes(rows[:, :4], scores[:, 1:] * scores[:, :1])


def _best_classes(boxes: Array, scores: Array) -> Candidates:
    classes = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), classes]
    return Candidates(boxes.astype(np.float32), best.astype(np.float32), classes.astype(np.int64))


def _yolov10(outputs: Sequence[Array], _: str) -> Candidates:
    tensor = outputs[0]
    if tensor.ndim != 2 or tensor.shape[1] != 6:
        given = list(tensor.shape)
        raise AnswerError("bad_shape", f"the model gives {given}, rows of 6 are needed")
    return _candidates(tensor[:, :4], tensor[:, 4], tensor[:, 5])


def _classes_beside(others: int) -> Callable[[Sequence[int]], int | None]:
    """Returns the number of classes of a matrix whose rows have `others` more numbers."""

    def classes(dims: Sequence[int]) -> int | None:
        return min(dims) - others if len(dims) == 2 and min(dims) > others else None

    return classes


LAYOUTS = {
    "torchvision": Layout(
        ("boxes", "labels", "scores"), (("boxes",), ("labels",), ("scores",)), "corners", False,
        _torchvision,
    ),
    "efficientnms": Layout(
        ("num_dets", "boxes", "scores", "classes"),
        (
            ("num_dets", "num_detections", "num_detections:0"),
            ("det_boxes", "detection_boxes", "nmsed_boxes", "boxes", "bboxes"),
            ("det_scores", "detection_scores", "nmsed_scores", "scores"),
            ("det_classes", "detection_classes", "nmsed_classes", "classes", "labels"),
        ),
        "corners", False, _counted,
    ),
    "yolov8": Layout(("output",), ((),), "centre", True, _yolov8, _classes_beside(4), (5, 0)),
    "yolov5": Layout(("output",), ((),), "centre", True, _yolov5, _classes_beside(5), (6, 0)),
    "yolov10": Layout(("output",), ((),), "corners", False, _yolov10, None, (6, 6)),
}  # fmt: skip
