"""Makes requests to Triton from images, and answers from Triton's responses. Pure."""

import re
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from bridge.inference import Answer
from bridge.tasks.task import Output
from bridge.triton.model import ModelSpec
from imaging.rules import ImageError, Input, Size

NUMPY_TYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "BF16": "<u2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""Triton's datatypes as numpy types of the bytes in its messages; BF16 as its bits."""


def make_request(
    spec: ModelSpec,
    images: Sequence[Input],
    *,
    timeout_s: float,
    outputs: Sequence[Output] | None = None,
) -> Any:
    """The `ModelInferRequest` that asks for what a model's task needs of a batch.

    It is built here because the way of Triton's client through numpy costs half as much again.

    Args:
        timeout_s: seconds after which the server's queue drops the request.
        outputs: the outputs to ask for, if not those of the task.
    """
    encoded = spec.shape is None
    request = service_pb2.ModelInferRequest(model_name=spec.name, model_version=spec.version)
    request.parameters["timeout"].int64_param = int(timeout_s * 1e6)
    request.inputs.add(
        name=spec.input.name,
        datatype=spec.input.datatype,
        shape=spec.input.request_shape(len(images), spec.batched),
    )
    buffers = [image if isinstance(image, bytes) else image.data for image in images]
    if encoded:
        buffers = [part for one in buffers for part in (len(one).to_bytes(4, "little"), one)]
    request.raw_input_contents.append(b"".join(buffers))
    for output in spec.task.outputs if outputs is None else outputs:
        asked = request.outputs.add(name=output.name)
        if output.classes:
            asked.parameters["classification"].int64_param = output.classes
    if spec.error_output is not None:
        request.outputs.add(name=spec.error_output)
    return request


def parse_answer(response: Any, spec: ModelSpec, sizes: Sequence[Size | None]) -> Answer:
    """Read what a model answered to a batch.

    Args:
        response: a `ModelInferResponse`.
        spec: the model that gave it.
        sizes: sizes of the images in the request.

    Raises:
        ValueError: an output is missing, or does not have one row for each image.
    """
    count = len(sizes)
    answered: dict[str, Any] = {}
    for output in spec.task.outputs:
        if output.classes:
            answered[output.name] = texts(response, output.name, count, spec.batched)
        else:
            answered[output.name] = _array(response, output, spec, count)
    results = list(spec.task.read(answered, sizes))
    if spec.error_output is not None:
        for index, (reason,) in enumerate(texts(response, spec.error_output, count, spec.batched)):
            if reason:
                results[index] = parse_error(reason)
    return Answer(response.model_version, results)


def texts(response: Any, output: str, count: int, batched: bool) -> list[list[bytes]]:
    """The strings of a BYTES output, with those of one image in each row.

    Raises:
        ValueError: there are none, or not the same number for each image.
    """
    place = _place(response, output)
    strings = [] if place is None else _strings(response.raw_output_contents[place])
    if place is None or not strings:
        raise ValueError(_empty(output))
    shape = list(response.outputs[place].shape)
    if batched and (shape[:1] != [count] or prod(shape) != len(strings)):
        raise ValueError(
            f"output {output} has the shape {shape} and {len(strings)} strings for {count} images: "
            "the model must give one row for each image, in their order"
        )
    if len(strings) % count:
        raise ValueError(f"output {output} has {len(strings)} strings for {count} images")
    width = len(strings) // count
    return [strings[at : at + width] for at in range(0, len(strings), width)]


def _place(response: Any, output: str) -> int | None:
    for place, one in enumerate(response.outputs):
        if one.name == output:
            return place if place < len(response.raw_output_contents) else None
    return None


def _empty(output: str) -> str:
    return (
        f"output {output} is empty (with a Python-backend model: does Triton's environment "
        "have numpy 2? Its stub needs numpy 1)"
    )


def _array(response: Any, output: Output, spec: ModelSpec, count: int) -> npt.NDArray[Any]:
    """An output as numbers [count, *dims]; BF16 becomes float32, BYTES becomes objects."""
    place = _place(response, output.name)
    if place is None:
        raise ValueError(_empty(output.name))
    found, raw = response.outputs[place], response.raw_output_contents[place]
    shape = tuple(int(size) for size in found.shape)
    said = f"output {output.name} is {found.datatype} {list(shape)}"
    if found.datatype != output.datatype:
        raise ValueError(f"{said}, the model's configuration says {output.datatype}")
    one_image = spec.input.leading is not None and len(shape) == len(output.dims) + 1
    rows = shape if spec.batched or one_image else (1, *shape)
    if rows[:1] != (count,):
        raise ValueError(f"{said} for {count} images: the model must give one row for each image")
    if len(rows) - 1 != len(output.dims) or any(
        told not in (-1, size) for told, size in zip(output.dims, rows[1:], strict=True)
    ):
        raise ValueError(f"{said}, the model's configuration says {list(output.dims)} an image")
    values = _values(raw, found.datatype)
    if values.size != prod(rows):
        raise ValueError(
            _empty(output.name) if not raw else f"{said}, but has {values.size} values"
        )
    return values.reshape(rows)


def _values(raw: bytes, datatype: str) -> npt.NDArray[Any]:
    if datatype == "BYTES":
        strings = _strings(raw)
        values = np.empty(len(strings), object)
        values[:] = strings
        return values
    numbers: npt.NDArray[Any] = np.frombuffer(raw, NUMPY_TYPES[datatype])
    if datatype == "BF16":
        return (numbers.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return numbers


def _strings(raw: bytes) -> list[bytes]:
    """The strings of a BYTES tensor: each follows its length in four bytes, little-endian."""
    strings = []
    at = 0
    while at < len(raw):
        begin = at + 4
        at = begin + int.from_bytes(raw[at:begin], "little")
        strings.append(raw[begin:at])
    if at != len(raw):
        raise ValueError(f"its strings end at byte {at}, the tensor at {len(raw)}")
    return strings


def parse_error(text: bytes) -> ImageError:
    """Why the model could not use one image, from "kind: message"; see `model.ERROR_OUTPUT`."""
    kind, _, message = text.decode(errors="replace").partition(": ")
    # The kind names a metric's series and a dead letter's class: no other text may get there.
    if not message or not re.fullmatch("[a-z_]{1,32}", kind):
        return ImageError("model", text.decode(errors="replace"))
    return ImageError(kind, message)
