"""What a model is around its network, and those that come with the project."""

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from cli.paths import DATA
from exporter.cifar_resnet import DEPTHS, CifarResNet
from exporter.errors import ArgumentError, ExportError

CIFAR10_LABELS = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DEFAULT = "DEFAULT"
RANDOM = "none"
"""What `--weights` can be beside a file and a name of torchvision's."""

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


CIFAR_NAMES = tuple(f"resnet{depth}_cifar10" for depth in DEPTHS)
DETECTOR = "detector_cifar10"


def find(name: str | Model, *, weights: str | Path | None = None, task: str | None = None) -> Model:
    """The model of that name, or the model itself.

    Args:
        weights: as `exporter.weights.load` takes them; torchvision's have their own preprocessing.
        task: None: classify, or detect for a detector.

    Raises:
        ExportError: no model has that name, or not for that task.
    """
    if isinstance(name, Model):
        return name
    if name in CIFAR_NAMES:
        return _cifar(name, task or "classify")
    if name == DETECTOR:
        return _detector(task or "detect")
    # Late, because it takes seconds and ResNet-20 does without.
    from exporter import zoo  # noqa: PLC0415

    if name in zoo.CLASSIFIERS or name in zoo.DETECTORS:
        return zoo.model(name, weights=weights, task=task)
    known = (*CIFAR_NAMES, DETECTOR, *zoo.CLASSIFIERS, *zoo.DETECTORS)
    near = difflib.get_close_matches(name, known, 6)
    raise ArgumentError(
        f"no model is named {name[:80]!r}; there are {', '.join(CIFAR_NAMES)}, and torchvision's "
        f"classifiers and detectors ({'such as ' + ', '.join(near) if near else 'resnet50, …'}). "
        "Any torch.nn.Module can be exported under any name: --network FILE.py:NAME --size "
        "HEIGHTxWIDTH, see docs/bring-your-own-model.md"
    )


def _cifar(name: str, task: str) -> Model:
    if task == "detect":
        raise ExportError(f"{name} finds no boxes; it can classify and embed")
    depth = int(name.removeprefix("resnet").removesuffix("_cifar10"))
    return Model(
        name=name,
        build=partial(CifarResNet, depth),
        labels=CIFAR10_LABELS if task == "classify" else (),
        size=(32, 32),
        resize=32,
        shipped=DATA / "resnet20_cifar10.pt" if depth == 20 else None,
        task=task,
        headless=task == "embed",
    )


def _detector(task: str) -> Model:
    if task != "detect":
        raise ExportError(f"{DETECTOR} finds boxes: its task is detect, not {task}")
    from exporter.detector.canvases import SIDE  # noqa: PLC0415
    from exporter.detector.network import CifarDetector  # noqa: PLC0415 - it imports this

    return Model(
        name=DETECTOR,
        build=CifarDetector,
        labels=CIFAR10_LABELS,
        size=(SIDE, SIDE),
        resize=SIDE,
        shipped=DATA / f"{DETECTOR}.pt",
        task="detect",
        fit="letterbox",
        layout="yolov8",
    )
