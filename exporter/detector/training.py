"""Trains the detector: deterministic, and some minutes on two cores."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from cli.paths import DATA
from exporter.detector.canvases import Canvas, Images, canvases
from exporter.detector.network import CifarDetector, centres
from exporter.model import IMAGENET_MEAN, IMAGENET_STD

SEED = 0
BATCH = 32
STEPS = 320
RATE, BACKBONE_RATE = 3e-3, 6e-4
"""Learning rates of the head, which starts from nothing, and of ResNet-20's layers, which are
trained on CIFAR-10."""
DECAY = 1e-3
CORE = 0.5
"""A cell finds an object if its centre lies in this middle part of the box, across and down."""
BACKBONE = DATA / "resnet20_cifar10.pt"


@dataclass(frozen=True, slots=True)
class Batch:
    """Canvases as the network takes them, and the wanted output of each cell.

    Attributes:
        pixels: float32 [n, 3, 128, 128], normalised.
        wanted: float32 [n, classes, 256]: 1 for the class of the object that a cell must find.
        boxes: float32 [n, 4, 256]: that object's box.
        found: bool [n, 256]: cells that must find one.
    """

    pixels: Tensor
    wanted: Tensor
    boxes: Tensor
    found: Tensor


def train(
    images: Images,
    *,
    steps: int = STEPS,
    backbone: Path = BACKBONE,
    report: Callable[[int, float], None] = lambda _step, _loss: None,
) -> CifarDetector:
    """Train on endless canvases of `images`.

    The same torch gives the same weights on the same kind of processor: sums of floats depend on
    their order. One thread does all the work, so that the number of cores has no effect.

    Args:
        report: called after each step with its number and its loss.
    """
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    network = CifarDetector().to(memory_format=torch.channels_last)
    network.load_state_dict(torch.load(backbone, weights_only=True), strict=False)
    # Edges and colours are the same on a canvas, and these layers would cost the most.
    kept = (network.conv1, network.bn1, network.layer1)
    ours = [*network.neck.parameters(), *network.classes.parameters(), *network.sides.parameters()]
    known = {id(one) for one in ours}
    network.train()
    for layer in kept:
        layer.requires_grad_(False).eval()
    theirs = [one for one in network.parameters() if one.requires_grad and id(one) not in known]
    optimizer = torch.optim.AdamW(
        [{"params": ours, "lr": RATE}, {"params": theirs, "lr": BACKBONE_RATE}], weight_decay=DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [RATE, BACKBONE_RATE], total_steps=steps, pct_start=0.1
    )
    batches = _batches(canvases(images, SEED))
    for step, batch in enumerate(islice(batches, steps), 1):
        loss = _loss(network, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # untyped
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        report(step, float(loss.detach()))
    return network.eval()


def _batches(made: Iterator[Canvas]) -> Iterator[Batch]:
    while True:
        yield make_batch(list(islice(made, BATCH)))


def make_batch(made: list[Canvas]) -> Batch:
    """The network's input from these canvases, and its wanted output."""
    pixels = torch.stack([torch.from_numpy(one.pixels) for one in made]).permute(0, 3, 1, 2)
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    x, y = centres()
    wanted = torch.zeros(len(made), 10, len(x))
    boxes = torch.zeros(len(made), 4, len(x))
    for place, canvas in enumerate(made):
        for box, kind in zip(torch.from_numpy(canvas.boxes), canvas.classes, strict=True):
            left, top, right, bottom = box
            margin_x, margin_y = (right - left) * (1 - CORE) / 2, (bottom - top) * (1 - CORE) / 2
            inside = (x > left + margin_x) & (x < right - margin_x)
            inside &= (y > top + margin_y) & (y < bottom - margin_y)
            wanted[place, int(kind), inside] = 1
            boxes[place, :, inside] = box[:, None]
    return Batch((pixels / 255 - mean) / std, wanted, boxes, wanted.any(dim=1))


def _loss(network: CifarDetector, batch: Batch) -> Tensor:
    logits, sides = network.cells(batch.pixels)
    middles = centres()
    boxes = torch.cat((middles - sides[:, :2], middles + sides[:, 2:]), dim=1)
    count = batch.found.sum().clamp(min=1)
    focal = sigmoid_focal_loss(logits, batch.wanted, alpha=0.5, gamma=2, reduction="sum") / count
    # The class, only for cells that find an object: the focal loss learns that slowly.
    at = batch.found.nonzero(as_tuple=True)
    which = functional.cross_entropy(logits[at[0], :, at[1]], batch.wanted[at[0], :, at[1]])
    overlap = generalized_box_iou_loss(
        boxes[at[0], :, at[1]], batch.boxes[at[0], :, at[1]], reduction="mean"
    )
    loss: Tensor = focal + which + 2 * overlap
    return loss
