"""A classifier without its last layer gives the vector that the layer made classes of."""

import copy

from torch import nn

from exporter.errors import ExportError

HEADS = ("fc", "classifier", "head", "heads", "linear")
"""What torchvision's families, and the CIFAR ResNets, call the part behind their features."""


def without_last_layer(network: nn.Module, name: str) -> nn.Module:
    """A copy whose head lacks its last layer that has weights.

    What follows that layer, a pooling for instance, stays.

    Raises:
        ExportError: it has no head of a known name.
    """
    network = copy.deepcopy(network)
    found = next((one for one in HEADS if isinstance(getattr(network, one, None), nn.Module)), None)
    if found is None:
        raise ExportError(
            f"{name} has none of the parts {', '.join(HEADS)}, so its last layer is not known: "
            "give a network that ends in the vector, --network FILE.py:NAME --task embed"
        )
    head = network.get_submodule(found)
    layers = [
        path
        for path, module in head.named_modules(prefix=found)
        if next(module.parameters(recurse=False), None) is not None
    ]
    if not layers:
        raise ExportError(f"{name}.{found} has no layer with weights to take off")
    parent, _, last = layers[-1].rpartition(".")
    setattr(network.get_submodule(parent) if parent else network, last, nn.Identity())
    return network
