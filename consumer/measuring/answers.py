"""Answers that a report shows more of than a line: boxes and vectors of some images. Bounded."""

import heapq
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wire.answers import FLOAT32, Detection, Detections, Embedding
from wire.prediction import Prediction

Vector = npt.NDArray[np.float32]

FIRST = 500
"""Images whose answers are kept: the first ones."""
SLOWEST = 12
"""Images with boxes, the slowest ones, whose answers are kept in addition: the report shows them,
too."""
MAX_BOXES = 20
"""Boxes that are kept of an image: those with the highest scores."""
MAX_LABEL = 80
"""Characters that are kept of a label."""
MAX_DIMENSIONS = 4096
"""Numbers that are kept of a vector: the first ones of a longer one."""


@dataclass(slots=True)
class Answers:
    """The answers of a run that are kept for its report.

    Attributes:
        boxes: by image id.
        vectors: float32, by image id.
    """

    boxes: dict[str, Detections] = field(default_factory=dict)
    vectors: dict[str, Vector] = field(default_factory=dict)
    _slowest: list[tuple[int, str]] = field(default_factory=list)
    _first: int = 0

    def take(self, prediction: Prediction, consumed_ns: int) -> None:
        """Keep what is worth keeping of a prediction; the first of an image stands."""
        answer = prediction.answer
        if isinstance(answer, Detections):
            self._take_boxes(
                prediction.id,
                Detections(tuple(map(_short, answer.found[:MAX_BOXES])), answer.image),
                consumed_ns - prediction.stamps["intended"],
            )
        elif isinstance(answer, Embedding) and len(self.vectors) < FIRST:
            values = np.frombuffer(answer.values, FLOAT32)[:MAX_DIMENSIONS]
            self.vectors.setdefault(prediction.id, values.astype(np.float32))

    def _take_boxes(self, id: str, answer: Detections, latency_ns: int) -> None:
        if id in self.boxes:
            return
        if self._first < FIRST:
            self._first += 1
            self.boxes[id] = answer
        elif len(self._slowest) < SLOWEST:
            heapq.heappush(self._slowest, (latency_ns, id))
            self.boxes[id] = answer
        elif latency_ns > self._slowest[0][0]:
            del self.boxes[heapq.heapreplace(self._slowest, (latency_ns, id))[1]]
            self.boxes[id] = answer


def _short(one: Detection) -> Detection:
    return Detection(
        label=one["label"][:MAX_LABEL],
        class_id=one["class_id"],
        score=one["score"],
        box=one["box"],
    )
