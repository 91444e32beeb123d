"""Images as the message that asks Triton, and its message as answers. Pure."""

import re
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

from tritonclient.grpc import service_pb2

from bridge.inference import Answer, Top
from bridge.triton.model import ModelSpec
from imaging.rules import ImageError, Pixels
from wire.prediction import ScoredLabel


def make_request(
    spec: ModelSpec, images: Sequence[Pixels | bytes], *, top_k: int, timeout_s: float
) -> Any:
    """The request for a batch's `top_k` classes, a `ModelInferRequest`.

    Its input is UINT8 [n, height, width, channels], or BYTES [n, 1] of encoded images. It is built
    here and not by Triton's client, whose way through numpy costs half as much again.

    Args:
        timeout_s: after it the server's queue forgets the request.
    """
    encoded = spec.shape is None
    shape = (1,) if spec.shape is None else spec.shape
    request = service_pb2.ModelInferRequest(model_name=spec.name, model_version=spec.version)
    request.parameters["timeout"].int64_param = int(timeout_s * 1e6)
    request.inputs.add(
        name=spec.input_name,
        datatype="BYTES" if encoded else "UINT8",
        shape=(len(images), *shape) if spec.batched else shape,
    )
    buffers = [image if isinstance(image, bytes) else image.data for image in images]
    if encoded:
        buffers = [part for one in buffers for part in (len(one).to_bytes(4, "little"), one)]
    request.raw_input_contents.append(b"".join(buffers))
    output = request.outputs.add(name=spec.output_name)
    output.parameters["classification"].int64_param = top_k
    if spec.error_output is not None:
        request.outputs.add(name=spec.error_output)
    return request


def parse_answer(response: Any, spec: ModelSpec, count: int) -> Answer:
    """Read the strings of Triton's classification extension, such as b"0.994124:3:cat".

    Args:
        response: a `ModelInferResponse`.
        spec: the model that gave it.
        count: images in the request.

    Raises:
        ValueError: not `count` rows of such strings.
    """
    rows = _rows(response, spec.output_name, count, spec.batched)
    tops: list[Top] = [tuple(map(parse_class, row)) for row in rows]
    if spec.error_output is not None:
        for index, (reason,) in enumerate(_rows(response, spec.error_output, count, spec.batched)):
            if reason:
                tops[index] = parse_error(reason)
    return Answer(response.model_version, tops)


def _rows(response: Any, output: str, count: int, batched: bool) -> list[list[bytes]]:
    """A BYTES output's strings, those of one image in each row."""
    names = [one.name for one in response.outputs]
    contents = response.raw_output_contents
    place = names.index(output) if output in names else len(contents)
    strings = _strings(contents[place]) if place < len(contents) else []
    shape = list(response.outputs[place].shape) if output in names else []
    if strings and batched and (shape[:1] != [count] or prod(shape) != len(strings)):
        raise ValueError(
            f"output {output} has the shape {shape} and {len(strings)} strings for {count} images: "
            "the model must give one row for each image, in their order"
        )
    if not strings:
        raise ValueError(
            f"output {output} is empty (with a Python-backend model: does Triton's environment "
            "have numpy 2? Its stub needs numpy 1)"
        )
    if len(strings) % count:
        raise ValueError(f"output {output} has {len(strings)} strings for {count} images")
    width = len(strings) // count
    return [strings[at : at + width] for at in range(0, len(strings), width)]


def _strings(raw: bytes) -> list[bytes]:
    """Strings of a BYTES tensor: each behind its length in four bytes, little-endian."""
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
    """Why the model could not use one image, "kind: message"; see `bridge.model.ERROR_OUTPUT`."""
    kind, _, message = text.decode(errors="replace").partition(": ")
    # The kind names a metric's series and a dead letter's class: nothing else may get there.
    if not message or not re.fullmatch("[a-z_]{1,32}", kind):
        return ImageError("model", text.decode(errors="replace"))
    return ImageError(kind, message)


def parse_class(text: bytes) -> ScoredLabel:
    """One "score:index[:label]"; without a label the index is the label."""
    score, _, rest = text.partition(b":")
    label, class_id = _parse_label(rest)
    return {"label": label, "class_id": class_id, "score": float(score)}


@lru_cache(4096)  # a model has some thousand classes at most that it ever answers with
def _parse_label(text: bytes) -> tuple[str, int]:
    index, _, label = text.decode().partition(":")
    label = label.removesuffix("\r")  # Triton keeps it of a file with Windows' line ends
    return label or index, int(index)
