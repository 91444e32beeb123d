"""Detection: boxes in the pixels of the image that was sent, with their classes and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bridge.tasks.layouts import LAYOUTS, Candidates
from bridge.tasks.nms import nms
from bridge.tasks.task import (
    Answered,
    AnswerError,
    Output,
    Refuse,
    Result,
    array,
    choice,
    fraction,
    label_of,
    labels,
)
from imaging.geometry import geometry
from imaging.rules import ImageError, Preprocess, Shape, Size
from imaging.tensor import number
from wire.answers import MAX_DETECTIONS, Detection, Detections, ImageSize

BOXES = ("corners", "centre", "corner_size", "corners_yx")
"""Layouts of the four numbers of a box. corners: left, top, right, bottom. centre: centre x, centre
y, width, height. corner_size: left, top, width, height. corners_yx: top, left, bottom, right."""
UNITS = ("pixels", "unit")


@dataclass(frozen=True, slots=True)
class Detect:
    """The boxes of a detector.

    Attributes:
        roles: the model's outputs, in the order of the layout's roles.
        shape: shape of the model's input; None: it takes encoded images, and its boxes are passed
            on unchanged.
        boxes: one of `BOXES`.
        unit: whether boxes are given from 0 to 1 of the input, and not in its pixels.
        nms: whether overlapping boxes must still be removed here.
        labels: names of the classes.
    """

    roles: tuple[Output, ...]
    layout: str
    shape: Shape | None
    preprocess: Preprocess
    boxes: str
    unit: bool
    nms: bool
    activation: str = "none"
    score_threshold: float = 0.25
    iou_threshold: float = 0.45
    max_detections: int = 100
    labels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "detect"

    @property
    def outputs(self) -> Sequence[Output]:
        return self.roles

    def read(
        self, answered: Answered, sizes: Sequence[Size | None]
    ) -> Sequence[Result | ImageError]:
        arrays = [array(answered, one.name) for one in self.roles]
        results: list[Result | ImageError] = []
        for place, size in enumerate(sizes):
            try:
                found = LAYOUTS[self.layout].read([one[place] for one in arrays], self.activation)
                results.append(self._choose(found, size))
            except AnswerError as error:
                results.append(error)
        return results

    def _choose(self, found: Candidates, size: Size | None) -> Detections:
        # The layouts refuse NaN and infinity, so only finite numbers are compared here.
        likely = found.scores >= np.float32(self.score_threshold)
        scores, classes = found.scores[likely], found.classes[likely]
        with np.errstate(over="ignore", invalid="ignore"):
            boxes = self._corners(found.boxes[likely])
        if not np.isfinite(boxes).all():
            raise AnswerError("not_finite", "the model's boxes are too large for float32")
        if self.nms:
            kept = nms(boxes, scores, classes, self.iou_threshold, self.max_detections)
        else:
            kept = np.argsort(-scores, kind="stable")[: self.max_detections]
        boxes, scores, classes = boxes[kept], scores[kept], classes[kept]
        if self.labels and len(classes) and classes.max() >= len(self.labels):
            raise AnswerError(
                "bad_class",
                f"the model gives class {classes.max()}, and postprocess.labels names "
                f"{len(self.labels)} classes, from 0 on",
            )
        if self.shape is None:
            return self._detections(boxes.astype(np.float64), scores, classes, None)
        where = geometry(size, self.shape, self.preprocess)
        image = ImageSize(width=where.size[0], height=where.size[1])
        return self._detections(where.to_image(boxes), scores, classes, image)

    def _corners(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Boxes as left, top, right, bottom in pixels of the input; float32 [n, 4]."""
        if self.boxes == "corners_yx":
            boxes = boxes[:, [1, 0, 3, 2]]
        elif self.boxes != "corners":
            half = np.float32(0.5 if self.boxes == "centre" else 0)
            start = boxes[:, :2] - half * boxes[:, 2:]
            boxes = np.concatenate((start, start + boxes[:, 2:]), axis=1)
        if self.unit:
            assert self.shape is not None
            height, width, _ = self.shape
            boxes = boxes * np.array((width, height, width, height), np.float32)
        return boxes

    def _detections(
        self,
        boxes: npt.NDArray[np.float64],
        scores: npt.NDArray[np.float32],
        classes: npt.NDArray[np.int64],
        image: ImageSize | None,
    ) -> Detections:
        """Detections of the image; boxes without area within it are left out: they lay in a
        border."""
        area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        rows = zip(
            boxes[area].round(2).tolist(), scores[area].tolist(), classes[area].tolist(),
            strict=True,
        )  # fmt: skip
        return Detections(
            tuple(
                Detection(
                    label=label_of(self.labels, class_id),
                    class_id=class_id,
                    score=round(score, 6),
                    box=box,
                )
                for box, score, class_id in rows
            ),
            image,
        )


def known_layout(outputs: Sequence[Output]) -> str | None:
    """The layout that the names of a model's outputs imply; None: they imply none."""
    names = {one.name for one in outputs}
    for layout in ("efficientnms", "torchvision"):
        known = LAYOUTS[layout].names
        if all(any(name in names for name in role) for role in known):
            return layout
    return None


def read_detect(
    outputs: Sequence[Output],
    named: bool,
    shape: Shape | None,
    preprocess: Preprocess,
    text: Mapping[str, str],
    refuse: Refuse,
) -> Detect:
    """Find out how a detector's outputs are to be read.

    Args:
        outputs: outputs of the model; if `named`, those of `postprocess.outputs` in its order.
        text: the model's parameters.

    Raises:
        Exception: what `refuse` makes of a reason.
    """
    usual = known_layout(outputs) or (
        _single(outputs[0].dims) if len(outputs) == 1 else "torchvision"
    )
    name = choice(text, "postprocess.layout", tuple(LAYOUTS), usual, refuse)
    layout = LAYOUTS[name]
    roles = _roles(outputs, named, name, refuse)
    for output, role in zip(roles, layout.roles, strict=True):
        if role == "boxes" and output.dims and output.dims[-1] not in (4, -1):
            raise refuse(f"output {output} must have boxes of 4 numbers (layout {name})")
    if not layout.fits(roles[0].dims):
        fewest, no_more = layout.columns
        raise refuse(
            f"output {roles[0]} cannot be of the layout {name}: a matrix with rows of {fewest}"
            f"{'' if no_more else ' and more'} numbers is; set postprocess.layout to another of "
            f"{', '.join(LAYOUTS)}, or --task raw"
        )
    known = labels(text)
    classes = layout.classes(roles[0].dims) if layout.classes else None
    if known and classes is not None and len(known) < classes:
        raise refuse(
            f"postprocess.labels names {len(known)} classes, and the model has {classes} (output "
            f"{roles[0]}, layout {name}): name all of them, in their order"
        )
    boxes = choice(text, "postprocess.boxes", BOXES, layout.boxes, refuse)
    unit = choice(text, "postprocess.coordinates", UNITS, "pixels", refuse) == "unit"
    if unit and shape is None:
        raise refuse(
            "postprocess.coordinates = unit needs an input of pixels: only the model knows the "
            "size of the encoded image that it gets"
        )

    key = "postprocess.max_detections"
    most = number(key, text.get(key, "100"), refuse)
    if not 1 <= most <= MAX_DETECTIONS or most != int(most):
        raise refuse(f"parameter {key} must be from 1 to {MAX_DETECTIONS}")
    chooses = choice(
        text, "postprocess.nms", ("true", "false"), "true" if layout.nms else "false", refuse
    )
    return Detect(
        roles,
        name,
        shape,
        preprocess,
        boxes,
        unit,
        chooses == "true",
        choice(text, "postprocess.activation", ("none", "sigmoid"), "none", refuse),
        fraction(text, "postprocess.score_threshold", 0.25, refuse),
        fraction(text, "postprocess.iou_threshold", 0.45, refuse),
        int(most),
        known,
    )


def _single(dims: Sequence[int]) -> str:
    """The layout of a detector's only output; rows of six numbers are boxes that need no NMS."""
    return "yolov10" if len(dims) == 2 and dims[1] == 6 and not 0 < dims[0] <= 6 else "yolov8"


def _roles(
    outputs: Sequence[Output], named: bool, layout: str, refuse: Refuse
) -> tuple[Output, ...]:
    known = LAYOUTS[layout]
    if len(known.roles) == 1 and len(outputs) == 1:
        return (outputs[0],)
    if named and len(outputs) == len(known.roles):
        return tuple(outputs)
    by_name = {one.name: one for one in outputs}
    matches = ([by_name[name] for name in role if name in by_name] for role in known.names)
    roles = tuple(found[0] for found in matches if found)
    if len(roles) == len(known.roles):
        return roles
    raise refuse(
        f"layout {layout} needs the outputs {', '.join(known.roles)}; which they are of "
        f"{', '.join(by_name) or 'none'} is not told: set postprocess.outputs to their names in "
        "that order, or postprocess.layout to one of " + ", ".join(LAYOUTS)
    )
