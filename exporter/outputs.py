"""The outputs of a network, and the error text where they do not suit the task."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from exporter.errors import ExportError
from exporter.model import Model

RECIPE = (
    "wrap it in a module of yours that gives that: docs/bring-your-own-model.md, "
    "'A network with other outputs'"
)


class Output(NamedTuple):
    """An output of the exported model, as Triton names it.

    Attributes:
        dims: sizes for one image.
    """

    name: str
    data_type: str
    dims: tuple[int, ...]


WANTED = {
    "classify": "one tensor [{n}, classes]",
    "embed": "one tensor [{n}, size of the vector]",
    "detect": "three tensors: boxes [{n}, k, 4], labels [{n}, k], scores [{n}, k]",
}


def outputs_of(model: Model, size: int) -> list[Output]:
    """The outputs of a model, as its configuration for Triton lists them.

    Args:
        size: number of classes, of a vector's numbers, or of boxes.
    """
    if model.task == "detect" and model.layout == "yolov8":
        return [Output("OUTPUT__0", "TYPE_FP32", (4 + len(model.labels), size))]
    if model.task == "detect":
        # The pytorch backend takes the number after the two underscores as the output's position.
        return [
            Output("boxes__0", "TYPE_FP32", (size, 4)),
            Output("labels__1", "TYPE_INT64", (size,)),
            Output("scores__2", "TYPE_FP32", (size,)),
        ]
    return [Output("OUTPUT__0", "TYPE_FP32", (size,))]


def require_output(wrapped: nn.Module, pixels: Tensor, model: Model) -> int:
    """Run it on `pixels`, uint8 [N, H, W, C], and check that its output suits the task.

    Returns:
        The number of classes, of a vector's numbers, or of boxes.

    Raises:
        ExportError: the output does not suit it; the text describes the output.
    """
    height, width, channels = pixels.shape[1:]
    try:
        with torch.inference_mode():
            found = wrapped(pixels)
    except Exception as error:  # the user's network can fail in any way
        given = _raw(wrapped, pixels)
        if given and not _fits(given[0], model.task):
            raise ExportError(
                f"for {len(pixels)} images the network gives {_described(given[0])}; for the task "
                f"{model.task} it has to give {WANTED[model.task].format(n=len(pixels))}: {RECIPE}"
            ) from error
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ExportError(
            f"the network fails on images of {height}x{width} with {channels} channels: {reason}"
        ) from error
    shapes = [tuple(one.shape) for one in (found if isinstance(found, tuple) else (found,))]
    place = 2 if model.layout == "yolov8" else 1
    size = int(shapes[0][place]) if len(shapes[0]) > place else 0
    if size < 1 or shapes != [(len(pixels), *output.dims) for output in outputs_of(model, size)]:
        raise ExportError(
            f"for {len(pixels)} images the network gives {_shapes(shapes)}; for the task "
            f"{model.task} it has to give {WANTED[model.task].format(n=len(pixels))}: {RECIPE}"
        )
    if model.task == "classify" and model.labels and size != len(model.labels):
        raise ExportError(
            f"for {len(pixels)} images the network gives {_shapes(shapes)}, and there are "
            f"{len(model.labels)} labels: it has to give [{len(pixels)}, {len(model.labels)}]"
        )
    return size


def _raw(wrapped: nn.Module, pixels: Tensor) -> list[Any]:
    """The network's own output; empty where it fails."""
    network, floats = wrapped.get_submodule("network"), wrapped.get_submodule("pixels")
    try:
        with torch.inference_mode():
            return [network(floats(pixels))]
    except Exception:  # its error was reported already
        return []


def _fits(value: object, task: str) -> bool:
    if task != "detect":
        return isinstance(value, Tensor)
    return (
        isinstance(value, tuple | list)
        and len(value) == 3
        and all(isinstance(one, Tensor) for one in value)
    )


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return _shapes([tuple(value.shape)])
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(repr(key) for key in list(value)[:8])}"
    if isinstance(value, tuple | list):
        inner = ", ".join(_described(one) for one in value[:4])
        return f"a {type(value).__name__} of {len(value)}: {inner}"
    return f"a {type(value).__name__}"


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join(str(list(shape)) for shape in shapes)
