"""A network to export, and what has to be known of it."""

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
"""What `--weights` can be, apart from a file and a name of torchvision's."""

TASKS = ("classify", "detect", "embed")


@dataclass(frozen=True, slots=True)
class Model:
    """A network that is not built yet, and its surroundings.

    Attributes:
        labels: class names, in the order of the network's outputs; empty: they have none.
        size: height and width of its input, pixels.
        resize: for `fit` cover, the shorter side that an image is scaled to before `size` is cut
            from its centre.
        mean, std: what the weights were trained with, for pixels in [0, 1]; one number for each
            channel, or one for all.
        shipped: the checkpoint that comes with the project, if one does.
        pretrained: torchvision's `WeightsEnum` member that can be downloaded, if there is one.
        source: digest of the file that builds it, where that is the user's; then the weights that
            it is built with are meant.
        probabilities: it gives these itself; otherwise softmax is put behind it.
        task: one of `TASKS`.
        channels: 3, or 1 for grey.
        fit: how an image becomes the input: see the bridge's `preprocess.fit`.
        headless: the last layer is taken off, so that it gives the vector before it.
        layout: of a detector's outputs, as the bridge's `postprocess.layout` names it: torchvision
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
        """Digest of all that is put around the weights."""
        fields = (self.source, self.labels, self.size, self.resize, self.mean, self.std)
        more = (self.interpolation, self.probabilities, self.task, self.channels, self.fit)
        return hashlib.sha256(repr((*fields, *more, self.layout)).encode()).hexdigest()
