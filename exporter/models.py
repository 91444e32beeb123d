"""The models that can be exported, and what each needs around its network."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torchvision import models as torchvision_models

from cli.paths import DATA
from exporter.cifar_resnet import DEPTHS, CifarResNet
from exporter.errors import ExportError

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
TORCHVISION_DEPTHS = (18, 34, 50, 101, 152)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_RESIZE = 256
"""Shorter side before the 224x224 crop, where a checkpoint does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Model:
    """A network that is not built yet, and its surroundings.

    Attributes:
        labels: class names, in the order of the network's outputs.
        size: height and width of its input, pixels.
        resize: the shorter side that an image is scaled to before `size` is cut from its centre.
        mean, std: what the weights were trained with, for RGB pixels in [0, 1].
        shipped: the checkpoint that comes with the project, if one does.
        pretrained: torchvision's `WeightsEnum` member that can be downloaded, if there is one.
        source: digest of the file that builds it, where that is the user's; then the weights that
            it is built with are meant.
        probabilities: it gives these itself; otherwise softmax is put behind it.
    """

    name: str
    build: Callable[[], nn.Module]
    labels: tuple[str, ...]
    size: tuple[int, int]
    resize: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"
    shipped: Path | None = None
    pretrained: Any = None
    source: str = ""
    probabilities: bool = False

    @property
    def surroundings(self) -> str:
        """Digest of all that is put around the weights."""
        fields = (self.source, self.labels, self.size, self.resize, self.mean, self.std)
        text = repr((*fields, self.interpolation, self.probabilities))
        return hashlib.sha256(text.encode()).hexdigest()


def _cifar(depth: int) -> Model:
    checkpoint = DATA / "resnet20_cifar10.pt"
    return Model(
        name=f"resnet{depth}_cifar10",
        build=partial(CifarResNet, depth),
        labels=CIFAR10_LABELS,
        size=(32, 32),
        resize=32,
        shipped=checkpoint if depth == 20 else None,
    )


def _imagenet(depth: int, *, downloaded: bool) -> Model:
    name = f"resnet{depth}"
    pretrained = torchvision_models.get_model_weights(name).DEFAULT
    # Newer training recipes resize to 232 instead of 256: each checkpoint brings its own.
    resize = pretrained.transforms().resize_size[0] if downloaded else IMAGENET_RESIZE
    return Model(
        name=name,
        build=partial(torchvision_models.get_model, name, weights=None),
        labels=tuple(pretrained.meta["categories"]),
        size=(224, 224),
        resize=resize,
        pretrained=pretrained,
    )


NAMES = (
    *(f"resnet{depth}_cifar10" for depth in DEPTHS),
    *(f"resnet{depth}" for depth in TORCHVISION_DEPTHS),
)


def find(name: str | Model, *, downloaded: bool = False) -> Model:
    """The model of that name, or the model itself.

    Args:
        downloaded: whether torchvision's own weights will be used.

    Raises:
        ExportError: no model has that name.
    """
    if isinstance(name, Model):
        return name
    if name not in NAMES:
        raise ExportError(f"no model is named {name!r}; there are {', '.join(NAMES)}")
    depth = int(name.removeprefix("resnet").removesuffix("_cifar10"))
    return _cifar(depth) if name.endswith("_cifar10") else _imagenet(depth, downloaded=downloaded)
