"""Boxes of one object: what stays is what torchvision keeps."""

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms
from torchvision.ops import nms as torchvisions_nms

from bridge.tasks.nms import nms


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.45, 0.7, 1.0])
def test_it_keeps_what_torchvision_keeps_in_its_order(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    count = 400
    corner = rng.random((count, 2), np.float32) * 200
    boxes = np.concatenate((corner, corner + rng.random((count, 2), np.float32) * 80), axis=1)
    scores = rng.integers(0, 50, count).astype(np.float32) / 50  # with many equal ones
    one_class = np.zeros(count, np.int64)
    expected = torchvisions_nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    found = nms(boxes, scores, one_class, threshold, count)
    assert found.tolist() == expected.tolist()
    classes = rng.integers(0, 3, count)
    by_class = batched_nms(
        torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes), threshold
    )
    # It moves each class elsewhere, which rounds: held to the classes one by one as well.
    kept = nms(boxes, scores, classes, threshold, count)
    assert set(kept.tolist()) == {
        place
        for number in range(3)
        for place in np.flatnonzero(classes == number)[
            torchvisions_nms(
                torch.from_numpy(boxes[classes == number]),
                torch.from_numpy(scores[classes == number]),
                threshold,
            ).numpy()
        ].tolist()
    }
    assert len(set(kept.tolist()) ^ set(by_class.tolist())) <= 2
    assert nms(boxes, scores, classes, threshold, 7).tolist() == kept[:7].tolist()


def test_boxes_without_an_area_and_none_at_all_do_no_harm() -> None:
    none = np.zeros((0, 4), np.float32)
    assert nms(none, none[:, 0], none[:, 0], 0.5, 10).tolist() == []
    points = np.ones((3, 4), np.float32)
    scores = np.array([0.1, 0.3, 0.2], np.float32)
    assert nms(points, scores, np.zeros(3), 0.5, 10).tolist() == [1, 2, 0]
