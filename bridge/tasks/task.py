"""What a task is, and what it gets and gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from imaging.rules import ImageError, Size
from imaging.tensor import number
from wire.answers import Detections, Embedding, Tensors
from wire.prediction import Head, ScoredLabel

Refuse = Callable[[str], Exception]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Heads:
    """The best classes of each output of a classifier that has several, the first one's first."""

    heads: tuple[Head, ...]


Result = tuple[ScoredLabel, ...] | Heads | Detections | Embedding | Tensors
"""An image's answer; of a classification, its best classes, best first."""


class AnswerError(ImageError):
    """What the model answered for one image is no answer."""


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a model.

    Attributes:
        name, datatype: as Triton says them.
        dims: sizes for one image; -1: any.
        classes: so many best classes are asked for, as text, instead of the numbers; 0: numbers.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    classes: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.datatype} {list(self.dims)}"


Answered = Mapping[str, Array | Sequence[Sequence[bytes]]]
"""Outputs by name: arrays [images, *dims]; where classes were asked for, their texts by image."""


class Task(Protocol):
    """What the outputs of a model mean."""

    @property
    def name(self) -> str:
        """classify, detect, embed or raw."""
        ...

    @property
    def outputs(self) -> Sequence[Output]:
        """What is asked of the model."""
        ...

    def read(
        self, answered: Answered, sizes: Sequence[Size | None]
    ) -> Sequence[Result | ImageError]:
        """What a batch's outputs say of each image.

        Args:
            answered: every one of `outputs`, one row an image.
            sizes: of the images; None: that of the model's input.

        Raises:
            ValueError: what the model answered cannot be told apart by image.
        """
        ...


def array(answered: Answered, name: str) -> Array:
    """An output that was asked for as numbers."""
    found = answered[name]
    assert isinstance(found, np.ndarray)
    return found


def finite(values: Array, what: str) -> None:
    """Raises AnswerError where one of the values is NaN or infinite."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = values[~np.isfinite(values)].reshape(-1)[0]
        raise AnswerError("not_finite", f"the model's {what} has {bad} in it")


def choice(
    text: Mapping[str, str], key: str, allowed: Sequence[str], usual: str, refuse: Refuse
) -> str:
    """One of a parameter's allowed values."""
    value = text.get(key, usual).strip().lower()
    if value not in allowed:
        raise refuse(f"parameter {key} is {value[:40]!r}, expected one of {', '.join(allowed)}")
    return value


def fraction(text: Mapping[str, str], key: str, usual: float, refuse: Refuse) -> float:
    """A parameter's number from 0 to 1."""
    value = number(key, text[key], refuse) if key in text else usual
    if not 0 <= value <= 1:
        raise refuse(f"parameter {key} is {value}, expected a number from 0 to 1")
    return value


def names(text: Mapping[str, str], key: str) -> tuple[str, ...]:
    """A parameter's list of names: one a line, or on one line with commas between them."""
    told = text.get(key, "").strip()
    parts = told.splitlines() if "\n" in told else told.split(",")
    return tuple(part.strip() for part in parts) if told else ()


LABELS = "postprocess.labels"


def labels(text: Mapping[str, str], output: str | None = None) -> tuple[str, ...]:
    """Names of the classes, in their order: those told for this output, else those told for all."""
    own = f"{LABELS}.{output}"
    return names(text, own if output is not None and own in text else LABELS)


def label_of(known: Sequence[str], class_id: int) -> str:
    """A class's name; where none is known, its number."""
    return known[class_id] if 0 <= class_id < len(known) and known[class_id] else str(class_id)
