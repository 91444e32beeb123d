"""Mean average precision, held to torchvision's overlaps and to its definition, read plainly."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchvision.ops import box_iou

from exporter.detector.score import Found, overlaps, score

RNG = np.random.default_rng(11)


def boxes(count: int) -> npt.NDArray[np.float64]:
    start = RNG.uniform(0, 100, (count, 2))
    return np.concatenate((start, start + RNG.uniform(1, 60, (count, 2))), axis=1)


def found(*rows: tuple[tuple[float, float, float, float], int, float]) -> Found:
    return Found(
        np.array([row[0] for row in rows], float).reshape(-1, 4),
        np.array([row[1] for row in rows], int),
        np.array([row[2] for row in rows], float),
    )


A, B, FAR = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0), (90.0, 90.0, 99.0, 99.0)


def test_overlaps_are_those_of_torchvision() -> None:
    ours, others = boxes(40), boxes(30)
    wanted = box_iou(torch.from_numpy(ours), torch.from_numpy(others)).numpy()
    np.testing.assert_allclose(overlaps(ours, others), wanted, atol=1e-12)
    assert overlaps(np.array([[3.0, 3, 3, 3]]), np.array([[3.0, 3, 3, 3]])) == 0


def test_all_right_is_one_and_nothing_said_is_none() -> None:
    truth = found((A, 0, 1), (B, 1, 1))
    best = score([truth], [truth])
    assert (best.mean_average_precision, best.precision, best.recall) == (1, 1, 1)
    worst = score([truth], [found()])
    assert (worst.mean_average_precision, worst.precision, worst.recall) == (0, 0, 0)


def test_a_wrong_box_before_the_right_one_costs_precision() -> None:
    truth = found((A, 0, 1))
    assert score([truth], [found((FAR, 0, 0.9), (A, 0, 0.8))]).mean_average_precision == 0.5
    assert score([truth], [found((A, 0, 0.9), (FAR, 0, 0.8))]).mean_average_precision == 1


def test_an_object_is_found_once_and_by_its_own_class() -> None:
    truth = found((A, 0, 1))
    twice = score([truth], [found((A, 0, 0.9), (A, 0, 0.8))])
    assert (twice.precision, twice.recall) == (0.5, 1)
    other = score([truth], [found((A, 1, 0.9))])
    assert (other.mean_average_precision, other.precision, other.recall) == (0, 0, 0)


def test_only_sure_boxes_count_for_precision_and_recall() -> None:
    truth = found((A, 0, 1), (B, 0, 1))
    half = score([truth], [found((A, 0, 0.9), (B, 0, 0.4))])
    assert (half.mean_average_precision, half.precision, half.recall) == (1, 1, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_that_of_the_definition(seed: int) -> None:
    """Of one class: at each recall that is reached, the best precision at that recall or more."""
    rng = np.random.default_rng(seed)
    truths, said = [], []
    for _ in range(20):
        objects = boxes(3)
        truths.append(Found(objects, np.zeros(3, int), np.empty(0)))
        moved = objects + rng.normal(0, 6, objects.shape)
        guesses = np.concatenate((moved, boxes(2)))
        said.append(Found(guesses, np.zeros(5, int), rng.random(5)))
    flat = [
        (sure, place, box)
        for place, one in enumerate(said)
        for sure, box in zip(one.scores, one.boxes, strict=True)
    ]
    flat.sort(key=lambda one: -one[0])
    taken: set[tuple[int, int]] = set()
    hits = []
    for _, place, box in flat:
        shares = box_iou(torch.from_numpy(box[None]), torch.from_numpy(truths[place].boxes))[0]
        best = int(shares.argmax())
        hits.append(bool(shares[best] >= 0.5) and (place, best) not in taken)
        if hits[-1]:
            taken.add((place, best))
    precisions = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
    area = sum(max(precisions[i:]) for i, hit in enumerate(hits) if hit) / 60
    assert score(truths, said).mean_average_precision == pytest.approx(area, abs=1e-12)
