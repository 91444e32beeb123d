"""An inference request of KServe's protocol v2 (open inference protocol), as JSON.

Source: https://github.com/kserve/open-inference-protocol, "Inference Request JSON Object".
"""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

from wire.image import MAX_RANK
from wire.wrappings.bounds import (
    MAX_ITEMS,
    TooLargeError,
    WrappingError,
    parse_object,
    text_bytes,
)
from wire.wrappings.text import text_of, unwrap_text

_WHAT = "a KServe v2 inference request"
_DIGITS = 5
"""Most characters of a pixel in JSON: three digits, a comma and a space."""
_MAX_VALUES = 1 << 22
"""Most numbers in a tensor: 1,180 x 1,180 pixels in colour. Numbers that are no pixels take up to
36 bytes of memory each before they are refused; a larger image is better sent as BYTES."""
_MAX_ARRAYS = 1 << 18
"""Most arrays in a nested tensor: each takes some 90 bytes of memory, and as few as two in JSON."""


class Pixels(NamedTuple):
    """A tensor of one image: uint8 in C order, and its shape without the batch's dimension."""

    value: bytes
    shape: tuple[int, ...]


def unwrap_request(value: bytes, max_bytes: int) -> bytes | Pixels:
    """The image of a request with one input.

    Returns:
        For a BYTES input the encoded image, which is base64 in JSON; for a UINT8 input its pixels.

    Raises:
        WrappingError: the request is another one, or its image is too large.
    """
    most = min(max_bytes, _MAX_VALUES)
    limit = max(text_bytes(max_bytes), _DIGITS * most + MAX_ITEMS)
    if value.count(b"[") > _MAX_ARRAYS:
        raise WrappingError(f"{_WHAT} with too many arrays: give the data flat")
    if value.count(b'"') > 2 * MAX_ITEMS or value.count(b"{") > MAX_ITEMS:
        raise WrappingError(f"{_WHAT} with too many strings or objects")
    body = parse_object(value, _WHAT, limit, most + _MAX_ARRAYS + MAX_ITEMS)
    inputs = body.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        many = f"{len(inputs)} inputs" if isinstance(inputs, list) else "no list of inputs"
        raise WrappingError(f"{_WHAT} must have one input; this one has {many}")
    tensor = inputs[0]
    datatype, data = tensor.get("datatype"), tensor.get("data")
    if not isinstance(data, list):
        raise WrappingError(f"the input of {_WHAT} has no list of data")
    if datatype == "BYTES":
        while len(data) == 1 and isinstance(data[0], list):
            data = data[0]
        if len(data) != 1:
            raise WrappingError(f"{_WHAT} must have one image; this one has {len(data)} elements")
        what = "the element of its BYTES input"
        return unwrap_text(text_of(data[0], what), max_bytes, what)
    if datatype == "UINT8":
        return _pixels(data, _shape(tensor.get("shape")), max_bytes)
    told = repr(datatype)[:40]
    raise WrappingError(f"the input of {_WHAT} must be BYTES or UINT8, not {told}")


def _shape(found: Any) -> tuple[int, ...]:
    if (
        not isinstance(found, list)
        or not 1 <= len(found) <= MAX_RANK
        or not all(type(size) is int and 0 < size < 1 << 31 for size in found)
    ):
        raise WrappingError("the shape of a UINT8 input must be a list of sizes such as 1,32,32,3")
    return tuple(found)


def _pixels(data: list[Any], shape: tuple[int, ...], max_bytes: int) -> Pixels:
    wanted = prod(shape)
    if wanted > max_bytes:
        raise TooLargeError(f"a UINT8 input of {wanted:,} bytes, {max_bytes:,} are allowed")
    try:
        value = bytes(data) if data and isinstance(data[0], int) else bytes(_flat(data))
    except (TypeError, ValueError):
        raise WrappingError(
            "the data of a UINT8 input must be whole numbers from 0 to 255"
        ) from None
    if len(value) != wanted:
        raise WrappingError(f"a UINT8 input of {len(value):,} values has not the shape {shape}")
    # Without the batch's dimension: a record carries one image.
    return Pixels(value, shape[1:] if len(shape) == 4 and shape[0] == 1 else shape)


def _flat(data: list[Any]) -> Iterator[int]:
    """Numbers of nested arrays in their order; `parse_object` has bounded their number."""
    waiting: list[Iterator[Any]] = [iter(data)]
    while waiting:
        for one in waiting[-1]:
            if isinstance(one, list):
                waiting.append(iter(one))
                break
            yield one
        else:
            waiting.pop()
