"""Networks as people bring them, small; and weights that tell images apart, untrained."""

from pathlib import Path

import torch
from torch import nn

from exporter.check import sample
from exporter.graph import Pixels
from exporter.model import Model

FILE = '''
import torch
from torch import nn
from torchvision.models import VisionTransformer


def grey():
    """One channel, five classes."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(),
        nn.Linear(72, 5),
    )


def vit():
    """A vision transformer of torchvision's own code, without labels."""
    return VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64,
        num_classes=7,
    )


class WithAuxiliary(nn.Module):
    """As many of torch.hub give it: a dict."""

    def __init__(self):
        super().__init__()
        self.inner = vit()

    def forward(self, x):
        return {"logits": self.inner(x), "aux": x.mean()}


class Listed(WithAuxiliary):
    def forward(self, x):
        return [self.inner(x), x.mean()]


class Vector(nn.Module):
    def forward(self, x):
        return torch.cat((x.mean((2, 3)), x.std((2, 3))), dim=1)


class Map(nn.Module):
    def forward(self, x):
        return x


class Boxes(nn.Module):
    """What is brighter than the middle of the range, in one box an image."""

    def forward(self, x):
        bright = (x.mean(1) > 0.5).float()
        across, down = bright.amax(1), bright.amax(2)
        sides = torch.arange(x.shape[3], device=x.device), torch.arange(x.shape[2], device=x.device)
        found = []
        for line, numbers in zip((across, down), sides):
            found.append(torch.where(line > 0, numbers, 10_000).amin(1).float())
            found.append(torch.where(line > 0, numbers + 1, 0).amax(1).float())
        left, right, top, bottom = found
        boxes = torch.stack((left, top, right, bottom), 1)[:, None]
        scores = bright.amax((1, 2))[:, None]
        return boxes, torch.zeros_like(scores, dtype=torch.int64), scores
'''


def write(folder: Path) -> Path:
    """The file above, as a user's."""
    path = folder / "mine.py"
    path.write_text(FILE)
    return path


def telling_weights(model: Model, path: Path) -> Path:
    """A checkpoint of `model` with random weights, whose classes differ by more than rounding."""
    torch.manual_seed(1)
    network = model.build()
    with torch.no_grad():
        if model.task == "detect":
            for name, module in network.named_modules():
                if isinstance(module, nn.Conv2d) and "classification_head" in name:
                    module.weight.mul_(20)
        else:
            images = Pixels(model, torch.float32)(sample(model).pixels)
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = None  # what it sees first is what it knows
            network.train()(images)
            spread = network.eval()(images).std(0).mean()
            last = [one for one in network.modules() if isinstance(one, nn.Linear)][-1]
            last.weight.mul_(1 / spread)
    torch.save(network.state_dict(), path)
    return path
