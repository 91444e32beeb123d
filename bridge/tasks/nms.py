"""Non-maximum suppression, class by class: of boxes that cover one object, the surest stays."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # huge boxes, and empty ones
def nms(
    boxes: Floats, scores: Floats, classes: npt.NDArray[Any], threshold: float, limit: int
) -> npt.NDArray[np.int64]:
    """The boxes to keep, the surest first.

    Held to `torchvision.ops.batched_nms`: the same float32 areas, the same order of equal scores.

    Args:
        boxes: float32 [n, 4], left, top, right, bottom.
        scores: float32 [n].
        classes: [n]; boxes of different classes leave each other alone.
        threshold: of two boxes that share more than this part of their union, one goes.
        limit: so many are kept at most.
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
