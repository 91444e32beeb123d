"""The detector's score on canvases of images that it was not trained on."""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torchvision.ops import batched_nms

from exporter import models, weights
from exporter.detector.canvases import Images, canvases
from exporter.detector.score import Found, Score, score
from exporter.graph import wrapped

SEED = 1
CANVASES = 300
LEAST_SCORE, OVERLAP, MOST = 0.01, 0.45, 100
"""Lowest score of a box; overlap above which only the surer of two boxes is kept; most boxes."""


def evaluate(path: Path, images: Images, count: int = CANVASES) -> Score:
    """Run the weights in torch over `count` canvases of `images`."""
    described = models.find(models.DETECTOR)
    model = wrapped(weights.load(described, path), described)
    made = list(islice(canvases(images, SEED), count))
    truths = [Found(one.boxes, one.classes, np.empty(0)) for one in made]
    said: list[Found] = []
    with torch.inference_mode():
        for start in range(0, len(made), 50):
            part = np.stack([one.pixels for one in made[start : start + 50]])
            said.extend(_found(rows.T) for rows in model(torch.from_numpy(part)))
    return score(truths, said)


def _found(rows: torch.Tensor) -> Found:
    """The boxes that are kept from one canvas's rows, [cells, 4 + classes]."""
    scores, classes = rows[:, 4:].max(dim=1)
    likely = scores >= LEAST_SCORE
    rows, scores, classes = rows[likely], scores[likely], classes[likely]
    half = rows[:, 2:4] / 2
    boxes = torch.cat((rows[:, :2] - half, rows[:, :2] + half), dim=1)
    kept = batched_nms(boxes, scores, classes, OVERLAP)[:MOST]
    return Found(boxes[kept].numpy(), classes[kept].numpy(), scores[kept].numpy())
