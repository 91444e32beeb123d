"""The messages between a decoder and the bridge: bytes that hold only data.

A stranger's image may have taken the decoder over. So nothing that it replies is executed, and
every reply is bounded and checked.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from imaging.rules import ImageRules, Preprocess
from imaging.tensor import Array, Normalization, TensorRules

_READY = b"ready"
MAX_READY_BYTES = 100
_SIZES = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
MAX_ERROR_BYTES = 4096
"""Most bytes of the error of one image: its kind, its message and its place in the slice."""

MAX_KIND = 40
"""Most characters of an error's kind, which becomes a metric's label."""


class ReplyError(ValueError):
    """A decoder's reply that is malformed."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A slice's images.

    Attributes:
        inputs: [images, *dims] of the model's dtype; undefined where there is an error.
        sizes: int32 [images, 2], width and height of each image.
        errors: by place in the slice: the kind, as `ImageError` names it, and the message.
        seconds: spent on each.
    """

    inputs: Array
    sizes: npt.NDArray[np.int32]
    errors: dict[int, tuple[str, str]]
    seconds: Sequence[float]


def pack_rules(rules: ImageRules) -> bytes:
    return json.dumps(asdict(rules)).encode()


def unpack_rules(message: bytes) -> ImageRules:
    fields = json.loads(message)
    shape = fields.pop("shape")
    preprocess = Preprocess(**fields.pop("preprocess"))
    tensor = fields.pop("tensor")
    how = tensor.pop("normalization")
    if how is not None:
        how = Normalization(how["divisor"], tuple(how["mean"]), tuple(how["std"]))
    return ImageRules(
        shape=tuple(shape),
        preprocess=preprocess,
        tensor=TensorRules(normalization=how, **tensor),
        **fields,
    )


def pack_ready(missing: Sequence[str]) -> bytes:
    """A decoder's first message: the protections that its kernel does not support."""
    return b" ".join([_READY, *(one.encode() for one in missing)])


def unpack_ready(message: bytes) -> list[str]:
    """Read the first message; returns the protections that the kernel does not support.

    Raises:
        ReplyError: the message is something else.
    """
    first, *missing = message.split(b" ")
    if first != _READY:
        raise ReplyError("it does not say that it is ready")
    return [one.decode(errors="replace") for one in missing]


def pack_jobs(values: Sequence[bytes]) -> bytes:
    """A slice as a message: number of images, length of each, and then their bytes."""
    lengths = struct.pack(f"<{len(values)}I", *map(len, values))
    return b"".join((_LENGTH.pack(len(values)), lengths, *values))


def unpack_jobs(message: bytes) -> list[bytes]:
    (count,) = _LENGTH.unpack_from(message)
    lengths = struct.unpack_from(f"<{count}I", message, _LENGTH.size)
    place = _LENGTH.size * (1 + count)
    values = []
    for length in lengths:
        values.append(message[place : place + length])
        place += length
    return values


def pack_decoded(decoded: Decoded) -> bytes:
    """A reply as a message: number of images, length of the errors, seconds (float64), sizes,
    errors (JSON), inputs."""
    errors = json.dumps(list(decoded.errors.items())).encode() if decoded.errors else b""
    head = _SIZES.pack(len(decoded.inputs), len(errors))
    seconds = np.asarray(decoded.seconds, "<f8").tobytes()
    return b"".join((head, seconds, decoded.sizes.data, errors, decoded.inputs.data))


def max_reply_bytes(count: int, rules: ImageRules) -> int:
    """Most bytes that the reply to a slice of `count` images may have."""
    assert rules.shape is not None
    of_input = rules.tensor.itemsize * math.prod(rules.shape)
    return _SIZES.size + count * (8 + 8 + MAX_ERROR_BYTES + of_input)


def unpack_decoded(message: bytes, count: int, rules: ImageRules) -> Decoded:
    """Read the reply to a slice of `count` images.

    Raises:
        ReplyError: it is malformed.
    """
    assert rules.shape is not None
    try:
        found, error_bytes = _SIZES.unpack_from(message)
        place = _SIZES.size
        seconds = np.frombuffer(message, "<f8", count, place)
        place += seconds.nbytes
        sizes = np.frombuffer(message, np.int32, 2 * count, place).reshape(count, 2)
        place += sizes.nbytes
        raw_errors = message[place : place + error_bytes]
        listed = json.loads(raw_errors) if raw_errors else []
        errors = {place: (kind, text) for place, (kind, text) in listed}
        flat = np.frombuffer(message, rules.tensor.stored, offset=place + error_bytes)
        inputs = flat.reshape(count, *rules.tensor.dims(rules.shape))
        sound = (
            found == count
            and bool(np.all((seconds >= 0) & (seconds < np.inf)))
            and bool(np.all(sizes >= 0))
            and all(
                type(place) is int
                and 0 <= place < count
                and isinstance(kind, str)
                and kind.isidentifier()
                and len(kind) <= MAX_KIND
                and isinstance(text, str)
                for place, (kind, text) in errors.items()
            )
        )
    except (ValueError, TypeError, struct.error, RecursionError):
        sound = False
    if not sound:
        raise ReplyError("its reply cannot be read")
    return Decoded(inputs, sizes, errors, seconds.tolist())
