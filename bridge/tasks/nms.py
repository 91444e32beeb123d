"""Non-maximum suppression for each class: of boxes that cover one object, the surest is kept."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # for huge and for empty boxes
def nms(
    boxes: Floats, scores: Floats, classes: npt.NDArray[Any], threshold: float, limit: int
) -> npt.NDArray[np.int64]:
    """The indices of the boxes to keep, the surest first.

    It agrees with `torchvision.ops.batched_nms`: same float32 areas, same order of equal scores.

    Args:
        boxes: float32 [n, 4], left, top, right, bottom.
        scores: float32 [n].
        classes: [n]; boxes of different classes do not affect each other.
        threshold: the less sure of two boxes goes if they share more than this part of their union.
        limit: most boxes to keep.
    """
    order = np.argsort(-scores, kind="stable")
    left, top, right, bottom = boxes[order].T
    kinds = classes[order]
    areas = (right - left) * (bottom - top)
    alive = np.ones(len(order), bool)
    kept: list[int] = []
    for place in range(len(order)):
        if not alive[place]:
            continue
        kept.append(place)
        if len(kept) == limit:
            break
        rest = slice(place + 1, None)
        width = np.minimum(right[place], right[rest]) - np.maximum(left[place], left[rest])
        height = np.minimum(bottom[place], bottom[rest]) - np.maximum(top[place], top[rest])
        shared = np.maximum(width, np.float32(0)) * np.maximum(height, np.float32(0))
        overlap = shared / (areas[place] + areas[rest] - shared)
        alive[rest] &= ~((kinds[rest] == kinds[place]) & (overlap.astype(np.float64) > threshold))
    found: npt.NDArray[np.int64] = order[kept]
    return found
