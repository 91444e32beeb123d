"""The user's own network, and the user's description of a model."""

from dataclasses import replace
from pathlib import Path

from exporter import models, zoo
from exporter.arguments import read_labels, read_name, read_numbers, read_size
from exporter.errors import ExportError
from exporter.model import TASKS, Model
from exporter.source import find_source


def own_model(
    name: str,
    network: str | None,
    labels: Path | None = None,
    size: str | None = None,
    *,
    task: str | None = None,
    weights: str | Path | None = None,
    channels: int = 3,
    resize: int | None = None,
    mean: str | None = None,
    std: str | None = None,
    interpolation: str | None = None,
    probabilities: bool = False,
) -> Model:
    """Describe a model by the user's options.

    A user's network takes float32 [N, channels, H, W] and gives, by its task, [N, classes],
    a vector [N, n], or boxes [N, k, 4], labels [N, k] and scores [N, k] (or it has the interface of
    torchvision's detectors).

    Args:
        network: `FILE.py:NAME` or `MODULE:NAME`, a function or class that gives the network when
            called, or a TorchScript file; `torchvision.models:NAME` is one of torchvision's, with
            as many classes as there are labels. None: the one that the name means.
        labels: file with one class name on each line, in the order of the network's outputs; None:
            a
            class's number is its label.
        size: HEIGHTxWIDTH of its input, pixels; None: torchvision's weights say it.
        task: classify, detect or embed; None: what the network is made for.
        weights: see `exporter.weights.load`.
        resize: the shorter side that an image is scaled to before `size` is cut from its centre;
            None: the shorter of `size`, or as torchvision's weights have it.
        mean, std: mean and deviation, for pixels in [0, 1], with which the network was trained, one
            number for each channel or one for all; None: 0 and 1, or torchvision's.
        probabilities: whether its output is probabilities; otherwise a softmax is added.

    Raises:
        ExportError: an argument cannot be used.
    """
    if task not in (None, *TASKS):
        raise ExportError(f"task is one of {', '.join(TASKS)}, not {task!r}")
    if channels not in (1, 3):
        raise ExportError(f"an image has 1 channel (grey) or 3 (RGB), not {channels}")
    names = None if labels is None else read_labels(labels)
    sides = None if size is None else read_size(size)
    known = _torchvision(name, network)
    if known is not None:
        model = zoo.model(
            known, weights=weights, task=task, called=read_name(name), labels=names, size=sides
        )
        if channels != 3:
            raise ExportError(
                f"torchvision's {known} takes 3 channels; a version of yours with 1 is a function "
                "that builds it: --network FILE.py:NAME"
            )
    elif network is None:
        if names is not None or sides is not None or channels != 3:
            raise ExportError(f"{name} has its own labels and size; yours need --network")
        model = models.find(name, weights=weights, task=task)
    else:
        model = _own(read_name(name), network, names or (), sides, task or "classify", channels)
    return replace(
        model,
        resize=model.resize if resize is None else resize,
        fit=model.fit if resize is None else "cover",
        mean=model.mean if mean is None else read_numbers("--mean", mean, channels),
        std=model.std if std is None else read_numbers("--std", std, channels),
        interpolation=interpolation or model.interpolation,
        probabilities=probabilities,
    )


def _torchvision(name: str, network: str | None) -> str | None:
    """The name of torchvision's network that is meant; None: none is."""
    if network is None:
        return name if name in (*zoo.CLASSIFIERS, *zoo.DETECTORS) else None
    module, _, attribute = network.rpartition(":")
    known = {"torchvision.models": zoo.CLASSIFIERS, "torchvision.models.detection": zoo.DETECTORS}
    if module not in known:
        return None
    if attribute not in known[module]:
        raise ExportError(f"{module} has no {attribute!r}; it has {', '.join(known[module])}")
    return attribute


def _own(
    name: str,
    network: str,
    labels: tuple[str, ...],
    size: tuple[int, int] | None,
    task: str,
    channels: int,
) -> Model:
    if size is None:
        raise ExportError("your own network needs --size HEIGHTxWIDTH, the size of its input")
    if task == "embed" and labels:
        raise ExportError("--task embed gives a vector, which has no --labels")
    source = find_source(network)
    return Model(
        name=name,
        build=source.build,
        labels=labels,
        size=size,
        resize=min(size),
        mean=(0.0,),
        std=(1.0,),
        source=source.digest,
        task=task,
        channels=channels,
        fit="letterbox" if task == "detect" else "cover",
    )
