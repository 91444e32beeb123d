"""A model's tensor in a prediction: as numbers, as bytes, or as a picture."""

import base64
import math
import struct
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from wire.record import ContractError

ITEM_BYTES = {
    "BOOL": 1, "UINT8": 1, "INT8": 1, "UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2,
    "UINT32": 4, "INT32": 4, "FP32": 4, "UINT64": 8, "INT64": 8, "FP64": 8,
}  # fmt: skip
"""Bytes of one value of each Triton datatype; BYTES is missing, since its values differ in size."""

ENCODINGS = ("data", "data_base64", "png_base64")
"""Fields of `OutputTensor` of which exactly one holds the values."""

MAX_MASK_SIDE = 16384
"""Most pixels of a side of a mask's PNG."""

_PNG_HEAD = struct.Struct(">8sI4sIIBB")
_PNG_START = b"\x89PNG\r\n\x1a\n"
_GREY_BITS = {"UINT8": 8, "UINT16": 16}


class OutputTensor(TypedDict):
    """A tensor of one image, as KServe's protocol v2 names its parts.

    Attributes:
        data: flat, with the last index fastest; bytes of a BYTES tensor's string that are not UTF-8
            become U+FFFD.
        data_base64: the bytes of the protocol's binary data: little-endian, with the last index
            fastest; a string of a BYTES tensor follows its length in four bytes.
        png_base64: a grey PNG of a UINT8 or UINT16 tensor [height, width].
    """

    name: str
    datatype: str
    shape: Sequence[int]
    data: NotRequired[Sequence[float | int | bool | str]]
    data_base64: NotRequired[str]
    png_base64: NotRequired[str]


def read_tensor(one: dict[str, Any]) -> OutputTensor:
    """Read a tensor from JSON; its bytes must be as many as its type and shape need.

    Raises:
        ContractError: the tensor cannot have these values.
        KeyError, TypeError, ValueError: this is no tensor.
    """
    shape = tuple(int(size) for size in one["shape"])
    if min(shape, default=0) < 0:
        raise ContractError(f"a tensor cannot have the shape {shape}")
    held = [name for name in ENCODINGS if name in one]
    if len(held) != 1:
        raise ContractError(
            f"a tensor has its values in one of {', '.join(ENCODINGS)}, not in {held or 'none'}"
        )
    made = OutputTensor(name=str(one["name"]), datatype=str(one["datatype"]), shape=shape)
    if "data" in one:
        made["data"] = _read_numbers(one["data"], shape)
        return made
    text = str(one[held[0]])
    raw = base64.b64decode(text, validate=True)
    if "data_base64" in one:
        _check_bytes(raw, made["datatype"], shape)
        made["data_base64"] = text
    else:
        _check_png(raw, made["datatype"], shape)
        made["png_base64"] = text
    return made


def _read_numbers(values: Any, shape: tuple[int, ...]) -> Sequence[float | int | bool | str]:
    data = tuple(values)
    if math.prod(shape) != len(data):
        raise ContractError(f"a tensor of {len(data)} values cannot have the shape {shape}")
    if not all(isinstance(value, float | int | str) for value in data):
        raise ContractError("a tensor whose data are not numbers, truth values or text")
    return data


def _check_bytes(raw: bytes, datatype: str, shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    if datatype == "BYTES":
        strings = at = 0
        while at < len(raw):
            at += 4 + int.from_bytes(raw[at : at + 4], "little")
            strings += 1
        if at != len(raw) or strings != count:
            raise ContractError(f"{len(raw)} bytes are not the {count} strings of a tensor {shape}")
    elif datatype not in ITEM_BYTES:
        raise ContractError(f"a tensor of the type {datatype[:40]!r}, which is not known")
    elif len(raw) != count * ITEM_BYTES[datatype]:
        raise ContractError(f"{len(raw)} bytes are not those of a tensor {datatype} {shape}")


def _check_png(raw: bytes, datatype: str, shape: tuple[int, ...]) -> None:
    """Check only a PNG's header, so that whoever decodes it knows its size."""
    if len(raw) < _PNG_HEAD.size:
        raise ContractError(f"{len(raw)} bytes are no PNG")
    start, _, kind, width, height, bits, colour = _PNG_HEAD.unpack_from(raw)
    if start != _PNG_START or kind != b"IHDR" or max(width, height) > MAX_MASK_SIDE:
        raise ContractError("a tensor's picture is no PNG, or too large")
    if (height, width) != shape or colour != 0 or bits != _GREY_BITS.get(datatype):
        raise ContractError(
            f"a PNG of {width} x {height} pixels, {bits} bits and colour type {colour} is no "
            f"tensor {datatype} {shape}"
        )
