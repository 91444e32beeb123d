"""torchvision's classifiers and detectors, each with the preprocessing of its own weights."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models

from exporter.errors import ExportError
from exporter.model import DEFAULT, Model

CLASSIFIERS = tuple(list_models(module=torchvision.models))
DETECTORS = tuple(list_models(module=torchvision.models.detection))


_EPSILON_0 = frozenset(
    ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn",
     "retinanet_resnet50_fpn")
)  # fmt: skip
"""Networks whose batch norms have the epsilon 0 in torchvision, as their weights were trained."""


def model(
    name: str,
    *,
    weights: str | Path | None = None,
    task: str | None = None,
    called: str | None = None,
    labels: tuple[str, ...] | None = None,
    size: tuple[int, int] | None = None,
) -> Model:
    """Describe one of torchvision's networks.

    Args:
        weights: see `exporter.weights.load`. Other weights than torchvision's get the preprocessing
            of the first that torchvision had for this network.
        task: None: the task that the network is made for.
        called: the model's name in Triton; None: the network's name.
        labels: labels of weights with other classes; for a detector, the background comes first.
        size: height and width of the input, in place of those of the weights.

    Raises:
        ExportError: the network does not do this task, or has no such weights.
    """
    task = _task(name, task)
    member = _member(name, weights)
    categories = tuple(member.meta["categories"])
    # "N/A" stands for numbers that COCO left out; nobody needs it as a label.
    known = tuple("" if one == "N/A" else one for one in categories)
    names = known if labels is None else labels
    other_classes = labels is not None and len(labels) != len(categories)
    common: dict[str, Any] = {
        "name": called or name,
        "labels": () if task == "embed" else names,
        "pretrained": None if other_classes else member,
        "task": task,
    }
    if task == "detect":
        build = partial(_detector, name, len(names))
        fixed, side = _detector_input(name)
        return Model(
            **common, build=build, size=size or side, resize=min(size or side),
            mean=(0.0,), std=(1.0,), fit="exact" if fixed else "letterbox",
        )  # fmt: skip
    transforms = member.transforms()
    (crop,), (resize,) = transforms.crop_size, transforms.resize_size
    side = size or (crop, crop)
    return Model(
        **common,
        build=partial(_classifier, name, len(names), side),
        size=side,
        resize=round(resize * min(side) / crop),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        headless=task == "embed",
    )


def _task(name: str, task: str | None) -> str:
    if name in DETECTORS:
        if task not in (None, "detect"):
            raise ExportError(f"{name} finds boxes: its task is detect, not {task}")
        return "detect"
    if task == "detect":
        raise ExportError(
            f"{name} finds no boxes; torchvision's detectors are {', '.join(DETECTORS)}"
        )
    return task or "classify"


def _member(name: str, weights: str | Path | None) -> Any:
    """The weights that are meant, among those that torchvision has for the network."""
    known = get_model_weights(name)
    if weights is None or weights == DEFAULT:
        return known.DEFAULT
    # One of vgg16's weights has only features, no classes.
    members = [one for one in known if one.meta["categories"]]
    text = str(weights)
    for one in members:
        # By its name in torchvision, or, if downloaded by hand, by the name of its file.
        if text == one.name or Path(text).name == Path(one.url).name:
            return one
    return members[0]


def _classifier(name: str, classes: int, size: tuple[int, int]) -> nn.Module:
    more: dict[str, Any] = {}
    if name.startswith("vit_"):
        if size[0] != size[1]:
            raise ExportError(f"{name} takes square images, not {size[0]}x{size[1]}")
        more["image_size"] = size[0]
    elif name.startswith("maxvit"):
        more["input_size"] = size
    elif name in ("googlenet", "inception_v3"):
        # The arguments that torchvision itself uses for its weights.
        more |= {"transform_input": True, "init_weights": False}
    return _built(name, num_classes=classes, **more)


def _detector(name: str, classes: int) -> nn.Module:
    network = _built(name, num_classes=classes, weights_backbone=None)
    if name in _EPSILON_0:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0
    return network


def _built(name: str, **options: Any) -> nn.Module:
    try:
        network: nn.Module = get_model(name, weights=None, **options)
    except (ValueError, RuntimeError, TypeError, AssertionError) as error:
        told = ", ".join(f"{key}={value}" for key, value in options.items())
        raise ExportError(f"torchvision cannot build {name} with {told}: {error}") from error
    return network


def _detector_input(name: str) -> tuple[bool, tuple[int, int]]:
    """Whether it scales every image to one size, and the input size that it scales least."""
    with torch.device("meta"):  # without memory or random numbers for its weights
        transform: Any = _detector(name, 2).transform
    if transform.fixed_size is not None:
        width, height = transform.fixed_size
        return True, (height, width)
    side = int(transform.min_size[-1])
    return False, (side, side)
