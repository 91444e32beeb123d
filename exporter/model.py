"""A network to export, and the facts that an export needs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DEFAULT = "DEFAULT"
RANDOM = "none"
"""A value of `--weights` besides files and torchvision's names: random weights."""

TASKS = ("classify", "detect", "embed")


@dataclass(frozen=True, slots=True)
class Model:
    """A network that is not built yet, with all that surrounds it.

    Attributes:
        labels: class names, in the order of the network's outputs; empty: there are none.
        size: height and width of its input in pixels.
        resize: for `fit` cover, the shorter side that an image is scaled to before `size` is cut
            from its centre.
        mean, std: of the training, for pixels in [0, 1]; one number for each
            channel, or one for all.
        shipped: the checkpoint that comes with the project, if one does.
        pretrained: torchvision's `WeightsEnum` member that can be downloaded, if there is one.
        source: digest of the file that builds it, where that is the user's; then the weights with
            which it is built are used.
        probabilities: whether its output is probabilities; otherwise a softmax is added.
        task: one of `TASKS`.
        channels: 3, or 1 for grey.
        fit: how an image becomes the input: see the bridge's `preprocess.fit`.
        headless: whether its last layer is removed, so that it gives the vector before that layer.
        layout: layout of a detector's outputs, named as in the bridge's `postprocess.layout`:
            torchvision
            (boxes, labels, scores) or yolov8 (one tensor [4 + classes, boxes]).
    """

    name: str
    build: Callable[[], nn.Module]
    labels: tuple[str, ...]
    size: tuple[int, int]
    resize: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    shipped: Path | None = None
    pretrained: Any = None
    source: str = ""
    probabilities: bool = False
    task: str = "classify"
    channels: int = 3
    fit: str = "cover"
    headless: bool = False
    layout: str = "torchvision"

    @property
    def surroundings(self) -> str:
        """Digest of everything around the weights."""
        fields = (self.source, self.labels, self.size, self.resize, self.mean, self.std)
        more = (self.interpolation, self.probabilities, self.task, self.channels, self.fit)
        return hashlib.sha256(repr((*fields, *more, self.layout)).encode()).hexdigest()
