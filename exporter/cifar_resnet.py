"""The CIFAR ResNets of He et al., "Deep Residual Learning for Image Recognition" (2015), §4.2."""

import torch
from torch import Tensor, nn
from torch.nn import functional

DEPTHS = (20, 32, 44, 56, 110)
CLASSES = 10


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the identity.

    Where the shape changes, the identity takes every second pixel and pads the channels with
    zeros on both sides (the paper's option A: a shortcut without parameters).
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.padding = (channels - channels_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.padding:
            x = functional.pad(x, (0, 0, 0, 0, self.padding, self.padding))
        return functional.relu(out + x)


class CifarResNet(nn.Module):
    """6n + 2 layers: a convolution, three groups of n blocks (16, 32, 64 channels), a classifier.

    Takes float [N, 3, 32, 32], gives logits [N, 10].
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"depth is one of {DEPTHS}, not {depth}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _group(blocks, 16, 16, stride=1)
        self.layer2 = _group(blocks, 16, 32, stride=2)
        self.layer3 = _group(blocks, 32, 64, stride=2)
        self.linear = nn.Linear(64, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(torch.mean(x, dim=(2, 3)))
        return logits


def _group(blocks: int, channels_in: int, channels: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))
