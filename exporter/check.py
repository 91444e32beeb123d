"""Checks that the exported file is the same function as the original network."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cli.paths import DATA
from exporter.apart import Predict
from exporter.errors import ExportError
from exporter.model import Model
from exporter.models import CIFAR10_LABELS

BATCH = 50
LARGE_SAMPLE = 8
"""Number of CIFAR images, and of noise images, at ImageNet size: a second's work on one core."""

SLOW_SAMPLE = 2
"""The same for slower models than a ResNet at 224x224: detectors, and inputs from 300x300 on."""

TOLERANCE = {"fp32": 1e-4, "fp16": 0.05, "bf16": 0.2}
"""Largest difference of a probability that is accepted. ResNet-20 on the shipped images: 4e-6 in
fp32 (folded batch norms), 0.02 in fp16 and 0.1 in bf16, where two classes are nearly tied. For the
latter two, the share of changed classes is the sharper test."""

CHANGED = {"fp32": 0.0, "fp16": 0.01, "bf16": 0.02}
"""Share of the images whose first class may change: with fewer bits, near ties may go either
way."""


LOST = 0.002
"""Share of the images that only the export, and not the network, may answer wrongly."""


class Sample(NamedTuple):
    """uint8 [N, H, W, 3]; class ids [N] or None where they are not known."""

    pixels: Tensor
    labels: Tensor | None


class Verdict(NamedTuple):
    """The comparison of the exported file with eager mode.

    Attributes:
        changed: number of images with another answer.
        max_difference: largest difference of a probability; of a vector's numbers, relative to the
            largest; or of scores.
        correct: images that were classified correctly, where that is known.
        what: the kind of answer that was compared.
        boxes: number of boxes that eager mode finds, for a detector.
    """

    images: int
    changed: int
    max_difference: float
    correct: int | None = None
    what: str = "top-1"
    boxes: int | None = None

    def __str__(self) -> str:
        text = (
            f"same {self.what} as eager mode on {self.images - self.changed} of {self.images} "
            f"images, max difference {self.max_difference:.1e}"
        )
        if self.boxes is not None:
            none = ": with none, little was compared; are these trained weights?"
            text += f", {self.boxes} boxes{'' if self.boxes else none}"
        return text if self.correct is None else f"{text}, {self.correct} classified correctly"


def sample(model: Model) -> Sample:
    """Real images of the model's input size: the CIFAR-10 test images that the project ships."""
    with np.load(DATA / "cifar10_test_1000.npz") as archive:
        images = torch.from_numpy(archive["images"])
        labels = torch.from_numpy(archive["labels"].astype(np.int64))
    if (model.size, model.channels) == ((32, 32), 3) and model.task != "detect":
        if model.labels == CIFAR10_LABELS:
            return Sample(images, labels)
        if model.headless:
            return Sample(images, None)
    slow = model.task == "detect" or model.size[0] * model.size[1] >= 300 * 300
    count = SLOW_SAMPLE if slow else LARGE_SAMPLE
    planes = images[:count].permute(0, 3, 1, 2).float()
    if model.channels == 1:
        planes = planes.mean(1, keepdim=True)
    resized = functional.interpolate(planes, model.size, mode="bilinear", align_corners=False)
    real = resized.round().to(torch.uint8).permute(0, 2, 3, 1)
    noise = torch.randint(
        0, 256, real.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return Sample(torch.cat((real, noise)).contiguous(), None)


def compare(eager: nn.Module, exported: Predict, images: Sample, precision: str) -> Verdict:
    """Run both over `images`; `eager` is in float32 whatever the precision of `exported`.

    Raises:
        ExportError: the first class changes, a difference is too large for the precision, or there
            are fewer right answers.
    """
    wanted, got = run(eager, images.pixels), run(exported, images.pixels)
    if wanted.shape != got.shape or got.dtype != torch.float32:
        raise ExportError(
            f"the exported model gives {got.dtype} {tuple(got.shape)}, "
            f"not float32 {tuple(wanted.shape)}"
        )
    tolerance = TOLERANCE[precision]
    difference = float((wanted - got).abs().max())
    if not difference <= tolerance:  # true for NaN, too
        raise ExportError(
            f"the exported model differs from eager mode by {difference:.1e}, "
            f"more than {tolerance:.0e} ({precision})"
        )
    best, eagers = got.argmax(1), wanted.argmax(1)
    changed = int((best != eagers).sum())
    if changed > CHANGED[precision] * len(best):
        raise ExportError(
            f"the exported model gives {changed} of {len(best)} images another top-1 class"
        )
    if images.labels is None:
        return Verdict(len(best), changed, difference, None)
    correct, before = (int((ours == images.labels).sum()) for ours in (best, eagers))
    if before - correct > LOST * len(best):
        raise ExportError(
            f"the exported model is right on {correct} of {len(best)} images, "
            f"eager mode on {before}"
        )
    return Verdict(len(best), changed, difference, correct)


def run(predict: Predict, pixels: Tensor) -> Tensor:
    """Run in batches, none of which has the size that the network was traced with."""
    with torch.inference_mode():
        starts = range(0, len(pixels), BATCH)
        return torch.cat([predict(pixels[start : start + BATCH]) for start in starts])
