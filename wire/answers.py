"""The content of a prediction that is no classification: detections, a vector, or tensors."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypedDict

import numpy as np

from wire.record import ContractError
from wire.tensors import OutputTensor, read_tensor

TASKS = ("classify", "detect", "embed", "raw")
MAX_DETECTIONS = 1000
"""Most objects in the answer for one image."""

FLOAT32 = "<f4"
"""Numpy's name for the type of an embedding's numbers: float32, little-endian."""


class Detection(TypedDict):
    """One object in an image, as JSON holds it.

    Attributes:
        box: left, top, right, bottom in pixels of the upright image.
    """

    label: str
    class_id: int
    score: float
    box: Sequence[float]


class ImageSize(TypedDict):
    """Width and height in pixels of the upright image, turned as its EXIF data says."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Detections:
    """The objects in an image, the surest first.

    Attributes:
        image: size of the image; None: the model got the encoded image, and boxes are unchanged.
    """

    task: ClassVar[str] = "detect"
    found: tuple[Detection, ...]
    image: ImageSize | None = None

    def fields(self) -> dict[str, Any]:
        """The fields of this answer in a prediction's JSON."""
        return {"detections": self.found, "image": self.image}


@dataclass(frozen=True, slots=True)
class Embedding:
    """An image as a vector.

    Attributes:
        values: float32, little-endian.
        encoding: how JSON holds it: a list of numbers, or base64 of `values`.
    """

    task: ClassVar[str] = "embed"
    values: bytes
    encoding: Literal["list", "base64"] = "base64"

    @property
    def dimensions(self) -> int:
        return len(self.values) // 4

    def fields(self) -> dict[str, Any]:
        """The fields of this answer in a prediction's JSON."""
        if self.encoding == "list":
            held: Any = ("embedding", np.frombuffer(self.values, FLOAT32))
        else:
            held = ("embedding_base64", base64.b64encode(self.values).decode())
        return {"dimensions": self.dimensions, **dict([held])}


@dataclass(frozen=True, slots=True)
class Tensors:
    """A model's outputs, unchanged."""

    task: ClassVar[str] = "raw"
    outputs: tuple[OutputTensor, ...]

    def fields(self) -> dict[str, Any]:
        """The fields of this answer in a prediction's JSON."""
        return {"outputs": self.outputs}


TOLD = 5
"""Most objects or tensors that `describe` names."""
MAX_WORDS = 200
"""Most characters that `describe` returns."""


OtherAnswer = Detections | Embedding | Tensors


def describe(answer: OtherAnswer) -> str:
    """One short line about an answer, for people."""
    if isinstance(answer, Embedding):
        return f"vector of {answer.dimensions:,} numbers"
    if isinstance(answer, Detections):
        said = [f"{one['label']} {one['score']:.2f}" for one in answer.found[:TOLD]]
        many, what = len(answer.found), "object"
    else:
        said = [
            f"{one['name']} {one['datatype']} {list(one['shape'])}" for one in answer.outputs[:TOLD]
        ]
        many, what = len(answer.outputs), "tensor"
    if not many:
        return f"no {what}s"
    more = ", ..." if many > TOLD else ""
    line = f"{many:,} {what}{'s' if many > 1 else ''}: {', '.join(said)}{more}"
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS - 3]}..."


def read_answer(task: str, body: dict[str, Any]) -> OtherAnswer | None:
    """The answer in a prediction; None: it is a classification.

    Raises:
        ContractError: the task is unknown, or a value is not allowed in an answer.
        KeyError, TypeError, ValueError, AttributeError: the body is no such answer.
    """
    if task == "classify":
        return None
    if task == "detect":
        return _read_detections(body)
    if task == "embed":
        return _read_embedding(body)
    if task == "raw":
        return Tensors(tuple(read_tensor(one) for one in body["outputs"]))
    raise ContractError(f"task {task[:40]!r} is not known, only {', '.join(TASKS)}")


def _read_detections(body: dict[str, Any]) -> Detections:
    if len(body["detections"]) > MAX_DETECTIONS:
        raise ContractError(
            f"{len(body['detections'])} detections, {MAX_DETECTIONS} are allowed in an image"
        )
    found = []
    for one in body["detections"]:
        left, top, right, bottom = (float(side) for side in one["box"])
        score = float(one["score"])
        if not all(map(math.isfinite, (left, top, right, bottom, score))):
            raise ContractError("a detection whose box or score is not finite")
        found.append(
            Detection(
                label=str(one["label"]),
                class_id=int(one["class_id"]),
                score=score,
                box=(left, top, right, bottom),
            )
        )
    size = body.get("image")
    image = (
        None if size is None else ImageSize(width=int(size["width"]), height=int(size["height"]))
    )
    return Detections(tuple(found), image)


def _read_embedding(body: dict[str, Any]) -> Embedding:
    if "embedding" in body:
        with np.errstate(over="ignore"):  # numbers that are too large are refused below
            values = np.array(body["embedding"], FLOAT32).tobytes()
    else:
        values = base64.b64decode(body["embedding_base64"], validate=True)
    embedding = Embedding(values, "list" if "embedding" in body else "base64")
    if len(values) % 4 or embedding.dimensions != int(body["dimensions"]):
        raise ContractError(
            f"an embedding of {len(values)} bytes has not {int(body['dimensions'])} float32 values"
        )
    if not np.isfinite(np.frombuffer(values, FLOAT32)).all():
        raise ContractError("an embedding with a value that is not finite")
    return embedding
