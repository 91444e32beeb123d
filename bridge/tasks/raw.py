"""Raw: the model's outputs unchanged, in the form of KServe's protocol v2, or as pictures."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from bridge.tasks.masks import (
    MOST_PIXELS,
    MaskRules,
    may_be_mask,
    to_mask,
    to_png,
    too_large,
)
from bridge.tasks.task import (
    Answered,
    AnswerError,
    Array,
    Output,
    Refuse,
    Result,
    array,
    choice,
    finite,
    fraction,
)
from imaging.rules import ImageError, Shape, Size
from wire.answers import Tensors
from wire.prediction import MAX_PREDICTION
from wire.tensors import ITEM_BYTES, OutputTensor

ENCODINGS = ("list", "base64", "png")
LEAST_BYTES = 2
"""Fewest bytes that a number takes in JSON, with the comma after it."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Any outputs, passed on without interpreting them.

    Attributes:
        encoding: list: numbers in JSON; base64: their bytes; png: outputs that may be masks as
            pictures, and others as base64.
        masks: how numbers become a mask.
    """

    outputs: Sequence[Output]
    encoding: str = "list"
    masks: MaskRules = field(default_factory=MaskRules)

    @property
    def name(self) -> str:
        return "raw"

    def read(
        self, answered: Answered, sizes: Sequence[Size | None]
    ) -> Sequence[Result | ImageError]:
        return [self._tensors(answered, place) for place in range(len(sizes))]

    def _tensors(self, answered: Answered, place: int) -> Result | ImageError:
        made = []
        room = MAX_PREDICTION
        for output in self.outputs:
            values = array(answered, output.name)[place]
            try:
                match form(output, self.encoding):
                    case "png":
                        tensor, used = _pictured(values, output, room, self.masks)
                    case "list":
                        tensor, used = _listed(values, output, room)
                    case _:
                        tensor, used = _packed(values, output, room)
            except AnswerError as error:
                return error
            made.append(tensor)
            room -= used
        return Tensors(tuple(made))


def form(output: Output, encoding: str) -> str:
    """The encoding of one output: base64 instead of png if the output cannot be a mask."""
    return "base64" if encoding == "png" and not may_be_mask(output) else encoding


def _tensor(output: Output, values: Array) -> OutputTensor:
    return OutputTensor(name=output.name, datatype=output.datatype, shape=values.shape)


def _listed(values: Array, output: Output, room: int) -> tuple[OutputTensor, int]:
    least = values.size * LEAST_BYTES
    if output.datatype == "BYTES":
        least += sum(map(len, values.flat))
    _require(least, room)
    finite(values, f"output {output.name}")
    flat = values.reshape(-1).tolist()
    made = _tensor(output, values)
    made["data"] = [_text(one) for one in flat] if output.datatype == "BYTES" else flat
    return made, least


def _packed(values: Array, output: Output, room: int) -> tuple[OutputTensor, int]:
    """The bytes of an output in the form of the protocol's binary tensor data."""
    if output.datatype == "BYTES":
        size = sum(4 + len(one) for one in values.flat)
    else:
        size = values.size * ITEM_BYTES[output.datatype]
    _require(in_base64(size), room)
    finite(values, f"output {output.name}")
    if output.datatype == "BYTES":
        raw = b"".join(part for one in values.flat for part in (_length(one), one))
    elif output.datatype == "BF16":  # read as float32; the upper halves are the original bits
        upper = np.ascontiguousarray(values).view(np.uint32) >> np.uint32(16)
        raw = upper.astype("<u2").tobytes()
    else:
        raw = values.tobytes()
    made = _tensor(output, values)
    made["data_base64"] = base64.b64encode(raw).decode()
    return made, in_base64(size)


def _pictured(
    values: Array, output: Output, room: int, rules: MaskRules
) -> tuple[OutputTensor, int]:
    mask = to_mask(values, output, rules)
    picture = to_png(mask)
    size = in_base64(len(picture))
    _require(size, room)
    datatype = "UINT8" if mask.dtype == np.uint8 else "UINT16"
    made = OutputTensor(name=output.name, datatype=datatype, shape=mask.shape)
    made["png_base64"] = base64.b64encode(picture).decode()
    return made, size


def in_base64(size: int) -> int:
    return -(-size // 3) * 4


def _text(one: bytes) -> str:
    return one.decode(errors="replace")


def _length(one: bytes) -> bytes:
    return len(one).to_bytes(4, "little")


def _require(size: int, room: int) -> None:
    if size > room:
        raise AnswerError("too_large", _too_large(MAX_PREDICTION - room + size))


def _too_large(size: int) -> str:
    return (
        f"its outputs make at least {size:,} bytes of a prediction, which may have "
        f"{MAX_PREDICTION:,}: choose among them with postprocess.outputs, send them with "
        "postprocess.encoding = base64 (a mask: png), or give a smaller one in the model"
    )


def read_raw(
    outputs: Sequence[Output], shape: Shape | None, text: Mapping[str, str], refuse: Refuse
) -> Raw:
    """Raises what `refuse` makes of outputs that can never be told."""
    if not outputs:
        raise refuse("it has no output")
    encoding = choice(text, "postprocess.encoding", ENCODINGS, "list", refuse)
    if encoding == "png" and not any(map(may_be_mask, outputs)):
        raise refuse(
            "postprocess.encoding = png is for masks: whole numbers [height, width], or the scores "
            "of classes [classes, height, width] or [height, width, classes]; its outputs are "
            f"{', '.join(map(str, outputs))}; for others set it to base64 or list"
        )
    masks = MaskRules(image=shape)
    if encoding == "png":  # otherwise the parameters belong to another task
        masks = MaskRules(
            choice(text, "postprocess.activation", ("none", "sigmoid"), "none", refuse),
            fraction(text, "postprocess.score_threshold", 0.5, refuse),
            shape,
        )
    least = 0
    for output in outputs:
        known = prod(output.dims) if min(output.dims, default=1) > 0 else 0
        how = form(output, encoding)
        if how == "png":
            sides = output.dims[:2] if masks.classes_last(output) else output.dims[-2:]
            pixels = prod(sides) if min(sides) > 0 else 0
            if pixels > MOST_PIXELS:
                raise refuse(too_large(pixels))
        elif how == "list":
            least += known * LEAST_BYTES
        else:
            least += in_base64(known * ITEM_BYTES.get(output.datatype, 4))
    if least > MAX_PREDICTION:
        raise refuse(_too_large(least))
    return Raw(tuple(outputs), encoding, masks)
