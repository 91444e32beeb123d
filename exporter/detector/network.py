"""The detector: ResNet-20's layers over the whole canvas, and one box for each cell of its grid."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from exporter.cifar_resnet import CifarResNet
from exporter.detector.canvases import LABELS, SIDE

STRIDE = 8
"""Pixels of a cell's side: the canvas is halved once, and twice more within the network."""
GRID = SIDE // STRIDE
WIDTH = 96
"""Number of channels of the head."""
RARE = -4.0
"""Bias of the class scores at the start: most cells have no object."""


class CifarDetector(nn.Module):
    """One box and the scores of all classes for each cell, without anchors (as in FCOS).

    Takes float [N, 3, 128, 128], normalised as for ResNet-20. Gives the usual export layout
    `yolov8`, float [N, 4 + classes, 256]: for each cell the centre, width and height of its box in
    pixels, and a score from 0 to 1 for each class. Cells come row by row.
    """

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        network = CifarResNet(20)
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.layer1, self.layer2, self.layer3 = network.layer1, network.layer2, network.layer3
        self.stride = STRIDE
        self.neck = nn.Sequential(_layer(64, WIDTH), _layer(WIDTH, WIDTH))
        self.classes = nn.Conv2d(WIDTH, len(LABELS), 1)
        self.sides = nn.Conv2d(WIDTH, 4, 1)
        assert self.classes.bias is not None
        nn.init.constant_(self.classes.bias, RARE)
        self.register_buffer("centres", centres(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits, sides = self.cells(x)
        start, end = self.centres - sides[:, :2], self.centres + sides[:, 2:]
        return torch.cat(((start + end) / 2, end - start, torch.sigmoid(logits)), dim=1)

    def cells(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs for training: logits [N, classes, 256], and distances [N, 4, 256] in pixels
        from a cell's centre to the left, top, right and bottom of its box."""
        x = functional.avg_pool2d(x, 2)
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.neck(self.layer3(self.layer2(self.layer1(x))))
        sides = functional.softplus(self.sides(x)) * self.stride
        return self.classes(x).flatten(2), sides.flatten(2)


def _layer(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def centres() -> Tensor:
    """Centres of the cells, [2, 256]: x, then y, in pixels."""
    middles = (torch.arange(GRID) + 0.5) * STRIDE
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()))
