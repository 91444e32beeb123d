"""The models that can be exported by name: those of the project, and those of torchvision."""

import difflib
from functools import partial
from pathlib import Path

from cli.paths import DATA
from exporter.cifar_resnet import DEPTHS, CifarResNet
from exporter.errors import ArgumentError, ExportError
from exporter.model import Model

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

CIFAR_NAMES = tuple(f"resnet{depth}_cifar10" for depth in DEPTHS)
DETECTOR = "detector_cifar10"


def find(name: str | Model, *, weights: str | Path | None = None, task: str | None = None) -> Model:
    """The model with this name, or the model itself.

    Args:
        weights: as `exporter.weights.load` takes them; torchvision's have their own preprocessing.
        task: None: classify, or detect for a detector.

    Raises:
        ExportError: no model has this name, or it does not do this task.
    """
    if isinstance(name, Model):
        return name
    if name in CIFAR_NAMES:
        return _cifar(name, task or "classify")
    if name == DETECTOR:
        return _detector(task or "detect")
    # Imported late: it takes seconds, and ResNet-20 does not need it.
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
