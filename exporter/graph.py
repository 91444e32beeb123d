"""What is exported around the network: raw pixels in; probabilities, a vector or boxes out."""

# TorchScript reads this file, and takes a "type: ignore" behind a line for a type.
# mypy: disable-error-code="attr-defined"

import copy

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.ssd import SSD

from exporter.heads import without_last_layer
from exporter.model import Model

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

MAX_DETECTIONS = 100
"""Boxes of an image: of a fixed number, because Triton puts the images of several requests into one
batch. torchvision's detectors give as many, or 300, the best first."""


class Pixels(nn.Module):
    """uint8 [N, H, W, C] to [N, C, H, W] in the network's dtype: permute, scale, normalise.

    Pixels are uint8 because they cross the network: a quarter of float32. Normalisation is done in
    float32 whatever the network's own precision.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: Model, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        mean = torch.tensor(model.mean).view(1, -1, 1, 1)
        std = torch.tensor(model.std).view(1, -1, 1, 1)
        # (pixel / 255 - mean) / std, as one multiplication and one addition.
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, pixels: Tensor) -> Tensor:
        # Permuted NHWC pixels are channels_last as they lie in memory: nothing is copied.
        x = pixels.permute(0, 3, 1, 2).to(torch.float32) * self.scale + self.shift
        return x.to(self.dtype)


class PixelClassifier(nn.Module):
    """uint8 [N, H, W, C] to float32 [N, classes]; softmax unless the network ends in one."""

    def __init__(self, network: nn.Module, model: Model, dtype: torch.dtype) -> None:
        super().__init__()
        self.pixels = Pixels(model, dtype)
        self.network = network
        self.probabilities = model.probabilities

    def forward(self, pixels: Tensor) -> Tensor:
        y = self.network(self.pixels(pixels)).to(torch.float32)
        return y if self.probabilities else torch.softmax(y, dim=1)


class PixelEmbedder(nn.Module):
    """uint8 [N, H, W, C] to a vector, float32 [N, n]."""

    def __init__(self, network: nn.Module, model: Model, dtype: torch.dtype) -> None:
        super().__init__()
        self.pixels = Pixels(model, dtype)
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        vectors: Tensor = self.network(self.pixels(pixels)).to(torch.float32)
        return vectors.flatten(1)


class PixelBoxes(nn.Module):
    """uint8 [N, H, W, C] to boxes [N, k, 4], labels [N, k], scores [N, k], as the network does."""

    def __init__(self, network: nn.Module, model: Model, dtype: torch.dtype) -> None:
        super().__init__()
        self.pixels = Pixels(model, dtype)
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, labels, scores = self.network(self.pixels(pixels))
        return boxes.to(torch.float32), labels.to(torch.int64), scores.to(torch.float32)


class PixelRows(nn.Module):
    """uint8 [N, H, W, C] to one tensor [N, 4 + classes, boxes], as the network does."""

    def __init__(self, network: nn.Module, model: Model, dtype: torch.dtype) -> None:
        super().__init__()
        self.pixels = Pixels(model, dtype)
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        rows: Tensor = self.network(self.pixels(pixels)).to(torch.float32)
        return rows


class PixelDetector(nn.Module):
    """The same of a network with the interface of torchvision's: a list of images in, a dict of
    each one's boxes out. Behind the last box of an image there are boxes without area, score 0.
    """

    def __init__(self, network: nn.Module, model: Model, dtype: torch.dtype) -> None:
        super().__init__()
        self.pixels = Pixels(model, dtype)
        self.network = network
        self.most = MAX_DETECTIONS

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.pixels(pixels)
        images = [image for image in x.unbind(0)]  # noqa: C416 - TorchScript has no list(...)
        if torch.jit.is_scripting():  # noqa: SIM108
            found = self.network(images)[1]  # behind the losses, and only TorchScript gives those
        else:
            found = self.network(images)
        shape = (len(images), self.most)
        boxes = torch.zeros((shape[0], shape[1], 4), dtype=torch.float32, device=x.device)
        labels = torch.zeros(shape, dtype=torch.int64, device=x.device)
        scores = torch.zeros(shape, dtype=torch.float32, device=x.device)
        for index in range(len(images)):
            one = found[index]
            count = min(len(one["scores"]), self.most)
            boxes[index, :count] = one["boxes"][:count]
            labels[index, :count] = one["labels"][:count]
            scores[index, :count] = one["scores"][:count]
        return boxes, labels, scores


def wrapped(network: nn.Module, model: Model, precision: str = "fp32") -> nn.Module:
    """Put what the task needs around a copy of `network`, in eval mode and in `precision`.

    Raises:
        ExportError: a vector is asked of a network whose last layer is not known.
    """
    dtype = PRECISIONS[precision]
    own = without_last_layer(network, model.name) if model.headless else copy.deepcopy(network)
    own = own.to(dtype=dtype)
    if model.task == "detect" and model.layout == "yolov8":
        return PixelRows(own, model, dtype).eval()
    if model.task == "detect":
        listed = isinstance(own, GeneralizedRCNN | SSD | RetinaNet | FCOS)
        return (PixelDetector if listed else PixelBoxes)(own, model, dtype).eval()
    own = own.to(memory_format=torch.channels_last)
    around = PixelEmbedder if model.task == "embed" else PixelClassifier
    return around(own, model, dtype).eval()
