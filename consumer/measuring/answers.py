"""Boxes and vectors of some images, of which a report shows more than a line. Bounded."""

import heapq
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wire.answers import FLOAT32, Detection, Detections, Embedding
from wire.prediction import Prediction

Vector = npt.NDArray[np.float32]

FIRST = 500
"""Number of first images whose answers are kept."""
SLOWEST = 12
"""Number of slowest images with boxes whose answers are also kept, since the report shows them."""
MAX_BOXES = 20
"""Most boxes that are kept of an image: those with the highest scores."""
MAX_LABEL = 80
"""Most characters that are kept of a label."""
MAX_DIMENSIONS = 4096
"""Most numbers that are kept of a vector: the first ones."""


@dataclass(slots=True)
class Answers:
    """The answers of a run that are kept for its report.

    Attributes:
        boxes: the detections by image id.
        vectors: the embeddings by image id, float32 [n].
    """

    boxes: dict[str, Detections] = field(default_factory=dict)
    vectors: dict[str, Vector] = field(default_factory=dict)
    _slowest: list[tuple[int, str]] = field(default_factory=list)
    _first: int = 0

    def take(self, prediction: Prediction, consumed_ns: int) -> None:
        """Keep the answer in a prediction if the report may show it; only the first for each
        image."""
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
