"""What is exported around the network: raw pixels in, probabilities out."""

import copy

import torch
from torch import Tensor, nn

from exporter.models import Model

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class PixelClassifier(nn.Module):
    """uint8 [N, H, W, 3] RGB to float32 [N, classes]: permute, scale, normalise, network, softmax
    (unless the network ends in one).

    Pixels are uint8 because they cross the network: a quarter of float32. Normalisation and
    softmax are done in float32 whatever the network's own precision.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, model: Model, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        self.probabilities = model.probabilities
        mean = torch.tensor(model.mean).view(1, 3, 1, 1)
        std = torch.tensor(model.std).view(1, 3, 1, 1)
        # (pixel / 255 - mean) / std, as one multiplication and one addition.
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, pixels: Tensor) -> Tensor:
        # Permuted NHWC pixels are channels_last as they lie in memory: nothing is copied.
        x = pixels.permute(0, 3, 1, 2).to(torch.float32) * self.scale + self.shift
        y = self.network(x.to(self.dtype)).to(torch.float32)
        return y if self.probabilities else torch.softmax(y, dim=1)


def classifier(network: nn.Module, model: Model, precision: str = "fp32") -> PixelClassifier:
    """Wrap a copy of `network`, in eval mode, channels_last and in `precision`."""
    dtype = PRECISIONS[precision]
    own = copy.deepcopy(network).to(dtype=dtype).to(memory_format=torch.channels_last)
    return PixelClassifier(own, model, dtype).eval()
