"""A classifier without its last layer: it gives the vector from which that layer makes classes."""

import copy

from torch import nn

from exporter.errors import ExportError

HEADS = ("fc", "classifier", "head", "heads", "linear")
"""Names of the part after the features in torchvision's families and in the CIFAR ResNets."""


def without_last_layer(network: nn.Module, name: str) -> nn.Module:
    """A copy of the network without the last layer of its head that has weights.

    Layers after that one, such as a pooling, stay.

    Raises:
        ExportError: the network has no head of a known name.
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
