"""A model's input: read from Triton's metadata, configuration and the model's parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imaging.rules import Shape
from imaging.tensor import DTYPES, PLAIN, PRESETS, TensorRules, read_normalization, words

Refuse = Callable[[str], Exception]

MAX_SIDE = 16384
"""Most pixels of a side of a model's input."""


@dataclass(frozen=True, slots=True)
class ModelInput:
    """The input of a model.

    Attributes:
        name, datatype: as Triton says them.
        shape: (height, width, channels) of one image; None: the model takes the encoded image.
        tensor: the dtype, the order and the range of the numbers that it takes.
        leading: size, 1 or -1, of a front dimension for images that Triton does not know as the
            batch's; each request then has one image. None: there is no such dimension.
    """

    name: str
    datatype: str
    shape: Shape | None
    tensor: TensorRules = PLAIN
    leading: int | None = None

    def request_shape(self, images: int, batched: bool) -> Sequence[int]:
        """The shape of the tensor that `images` images make."""
        dims = (1,) if self.shape is None else self.tensor.dims(self.shape)
        return (images, *dims) if batched or self.leading is not None else dims


def told(key: str, value: str) -> str:
    """How a user sets a model's parameter, for error messages."""
    return (
        f"set {key} = {value} in its parameters (config.pbtxt), or tell the bridge: "
        f"--model-parameters {key}={value}"
    )


def read_input(
    metadata: dict[str, Any], config: dict[str, Any], text: Mapping[str, str], refuse: Refuse
) -> ModelInput:
    """Derive a model's input from its description.

    Args:
        metadata, config: of the model, as Triton's client gives them in JSON.
        text: its `preprocess.*` parameters.
        refuse: makes an exception from a reason.

    Raises:
        Exception: one that `refuse` made.
    """
    configured = {one["name"]: one for one in config.get("input", [])}
    inputs = [
        one
        for one in metadata.get("inputs", [])
        if not configured.get(one["name"], {}).get("optional")
    ]
    if len(inputs) != 1:
        names = ", ".join(one["name"] for one in inputs) or "none"
        raise refuse(
            f"it must have one input, it has {len(inputs)} ({names}): put it into an ensemble that "
            "fills in the others, or mark those that it can do without as optional: true in "
            "config.pbtxt"
        )
    name, datatype = str(inputs[0]["name"]), str(inputs[0]["datatype"])
    batched = int(config.get("max_batch_size", 0)) > 0
    dims = dims_of(inputs[0], batched)
    seen = f"input {name} is {datatype} {list(dims)}"
    if datatype == "BYTES":
        if dims not in ((1,), ()):
            raise refuse(f"{seen}; a BYTES input must take one encoded image, [1]")
        return ModelInput(name, datatype, None)
    if datatype not in DTYPES:
        raise refuse(
            f"{seen}; it must be {', '.join(DTYPES)}, or BYTES [1]: cast it in the model, or in an "
            "ensemble in front of it"
        )
    leading = dims[0] if not batched and len(dims) == 4 and dims[0] in (1, -1) else None
    if leading is not None:
        dims = dims[1:]
    if len(dims) != 3:
        raise refuse(
            f"{seen}; an image must have rank 3: [height, width, channels] or "
            f"[channels, height, width]{_of_rank(dims, batched)}"
        )
    layout = str(configured.get(name, {}).get("format", ""))
    channels_first = _channels_first(dims, layout, text, seen, refuse)
    shape = _shape(dims, channels_first, text, seen, refuse)
    return ModelInput(
        name, datatype, shape, _tensor(datatype, channels_first, shape, text, seen, refuse), leading
    )


def _of_rank(dims: tuple[int, ...], batched: bool) -> str:
    """What to change in the configuration of a model whose input does not have rank 3."""
    if len(dims) == 2:
        size = ", ".join(map(str, dims))
        return f"; in config.pbtxt: dims: [ 1, {size} ] reshape {{ shape: [ {size} ] }}"
    if len(dims) == 4 and not batched:
        return (
            f"; it takes {dims[0]} at a time: let it take any number, and in config.pbtxt set "
            "max_batch_size, and leave that dimension out of dims"
        )
    if len(dims) == 4 and dims[0] == 1:
        rest = ", ".join(map(str, dims[1:]))
        size = ", ".join(map(str, dims))
        return f"; in config.pbtxt: dims: [ {rest} ] reshape {{ shape: [ {size} ] }}"
    return ""


def dims_of(tensor: dict[str, Any], batched: bool) -> tuple[int, ...]:
    """Sizes of an input or output for one image; -1 stands for any size."""
    dims = tuple(int(size) for size in tensor.get("shape", ()))
    return dims[1:] if batched else dims


def _channels_first(
    dims: tuple[int, ...], layout: str, text: Mapping[str, str], seen: str, refuse: Refuse
) -> bool:
    asked = text.get("preprocess.layout", layout.removeprefix("FORMAT_")).upper()
    if asked in ("NCHW", "NHWC"):
        return asked == "NCHW"
    if "preprocess.layout" in text:
        raise refuse(f"parameter preprocess.layout is {asked!r}, expected NCHW or NHWC")
    first, last = dims[0] in (1, 3), dims[2] in (1, 3)
    if not first and not last and -1 not in (dims[0], dims[2]):
        raise refuse(
            f"{seen}; its channels, first or last, must be 1 or 3: convert the colours in the "
            "model, or in an ensemble in front of it"
        )
    if first == last:
        raise refuse(
            f"{seen}; which of these are 1 or 3 channels cannot be told from it: "
            + told("preprocess.layout", "NCHW")
            + " (or NHWC)"
        )
    return first


def _shape(
    dims: tuple[int, ...], channels_first: bool, text: Mapping[str, str], seen: str, refuse: Refuse
) -> Shape:
    height, width, channels = (*dims[1:], dims[0]) if channels_first else dims
    if channels == -1:
        channels = 1 if text.get("preprocess.color", "").upper() == "L" else 3
    if channels not in (1, 3):
        where = "first" if channels_first else "last"
        raise refuse(f"{seen}; channels come {where} and must be 1 or 3")
    size = _size(text, refuse)
    if size is None:
        if height < 1 or width < 1:
            raise refuse(
                f"{seen}; height and width must be fixed, or images could not share a batch: "
                + told("preprocess.size", "224x224")
                + " (height x width)"
            )
        if max(height, width) > MAX_SIDE:
            raise refuse(f"{seen}; a side may have {MAX_SIDE:,} pixels")
        return height, width, channels
    if (height > 0 and height != size[0]) or (width > 0 and width != size[1]):
        raise refuse(f"{seen}, but parameter preprocess.size is {size[0]}x{size[1]}")
    return *size, channels


def _size(text: Mapping[str, str], refuse: Refuse) -> tuple[int, int] | None:
    asked = text.get("preprocess.size")
    if asked is None:
        return None
    sides = words(asked.lower().replace("x", " "))
    if not all(side.isascii() and side.isdigit() and len(side) < 6 for side in sides):
        sides = []
    if len(sides) != 2 or not all(0 < int(side) <= MAX_SIDE for side in sides):
        raise refuse(
            f"parameter preprocess.size is {asked[:40]!r}, expected height x width, as in 224x224"
        )
    return int(sides[0]), int(sides[1])


def _tensor(
    datatype: str,
    channels_first: bool,
    shape: Shape,
    text: Mapping[str, str],
    seen: str,
    refuse: Refuse,
) -> TensorRules:
    bgr = text.get("preprocess.color", "").upper() == "BGR"
    normalization = read_normalization(text, shape[2], bgr, refuse)
    if datatype == "UINT8":
        if normalization is not None:
            raise refuse(
                f"{seen}; preprocess.normalize, .scale, .mean and .std are for models that take "
                "floating-point numbers: leave them out"
            )
        return TensorRules("uint8", channels_first)
    if normalization is None:
        fitting = [name for name, one in PRESETS.items() if len(one.mean) in (1, shape[2])]
        usual, *others = fitting
        raise refuse(
            f"{seen}; what range its numbers have is not told: "
            + told("preprocess.normalize", usual)
            + f" (or {', '.join(others)}; or preprocess.scale, .mean and .std)"
        )
    return TensorRules(DTYPES[datatype], channels_first, normalization)
