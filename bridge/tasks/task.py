"""The protocol of a task, with what it gets and what it returns."""

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
    """The best classes of each output of a classifier with several outputs, in their order."""

    heads: tuple[Head, ...]


Result = tuple[ScoredLabel, ...] | Heads | Detections | Embedding | Tensors
"""The answer for one image; for a classification, its best classes, best first."""


class AnswerError(ImageError):
    """The model's answer for one image cannot be used."""


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a model.

    Attributes:
        name, datatype: as Triton says them.
        dims: sizes for one image; -1: any size.
        classes: number of best classes to ask for, as text, instead of the numbers; 0: the
            numbers are asked for.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    classes: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.datatype} {list(self.dims)}"


Answered = Mapping[str, Array | Sequence[Sequence[bytes]]]
"""Outputs by name: arrays [images, *dims], or, where classes were asked for, texts by image."""


class Task(Protocol):
    """Turns the outputs of a model into answers."""

    @property
    def name(self) -> str:
        """classify, detect, embed or raw."""
        ...

    @property
    def outputs(self) -> Sequence[Output]:
        """The outputs that requests ask for."""
        ...

    def read(
        self, answered: Answered, sizes: Sequence[Size | None]
    ) -> Sequence[Result | ImageError]:
        """The answer that a batch's outputs give for each image.

        Args:
            answered: all of `outputs`, with one row for each image.
            sizes: sizes of the images; None: the size of the model's input.

        Raises:
            ValueError: the outputs cannot be divided by image.
        """
        ...


def array(answered: Answered, name: str) -> Array:
    """An output that was asked for as numbers."""
    found = answered[name]
    assert isinstance(found, np.ndarray)
    return found


def finite(values: Array, what: str) -> None:
    """Check that no value is NaN or infinite.

    Raises:
        AnswerError: a value is.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = values[~np.isfinite(values)].reshape(-1)[0]
        raise AnswerError("not_finite", f"the model's {what} has {bad} in it")


def choice(
    text: Mapping[str, str], key: str, allowed: Sequence[str], usual: str, refuse: Refuse
) -> str:
    """A parameter's value, which must be one of those allowed."""
    value = text.get(key, usual).strip().lower()
    if value not in allowed:
        raise refuse(f"parameter {key} is {value[:40]!r}, expected one of {', '.join(allowed)}")
    return value


def fraction(text: Mapping[str, str], key: str, usual: float, refuse: Refuse) -> float:
    """A parameter's value as a number from 0 to 1."""
    value = number(key, text[key], refuse) if key in text else usual
    if not 0 <= value <= 1:
        raise refuse(f"parameter {key} is {value}, expected a number from 0 to 1")
    return value


def names(text: Mapping[str, str], key: str) -> tuple[str, ...]:
    """A parameter's list of names: one on each line, or all on one line with commas."""
    told = text.get(key, "").strip()
    parts = told.splitlines() if "\n" in told else told.split(",")
    return tuple(part.strip() for part in parts) if told else ()


LABELS = "postprocess.labels"


def labels(text: Mapping[str, str], output: str | None = None) -> tuple[str, ...]:
    """Names of the classes, in their order: those set for this output, else those set for all."""
    own = f"{LABELS}.{output}"
    return names(text, own if output is not None and own in text else LABELS)


def label_of(known: Sequence[str], class_id: int) -> str:
    """A class's name, or its number if no name is known."""
    return known[class_id] if 0 <= class_id < len(known) and known[class_id] else str(class_id)
