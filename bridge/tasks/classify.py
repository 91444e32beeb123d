"""Classification: the best classes of each image, found by Triton or from the model's numbers.

A model may have several outputs of classes ("heads"): each image then has the best of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.tasks.task import (
    LABELS,
    Answered,
    AnswerError,
    Heads,
    Output,
    Refuse,
    Result,
    array,
    choice,
    finite,
    label_of,
    labels,
)
from imaging.rules import ImageError, Size
from wire.prediction import Head, ScoredLabel

ACTIVATIONS = ("none", "softmax", "sigmoid")
BY_TRITON = ("FP32", "FP64")
"""Output datatypes for which Triton itself finds the best classes and their names."""


@dataclass(frozen=True, slots=True)
class Classify:
    """The best classes of one output.

    Attributes:
        classes: number of classes; None: it is not known.
        top_k: number of best classes in an answer.
        activation: turns the output's numbers into scores: none, softmax or sigmoid.
        labels: names of the classes, which win over Triton's.
    """

    output: Output
    classes: int | None
    top_k: int
    activation: str = "none"
    labels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "classify"

    @property
    def by_triton(self) -> bool:
        return self.activation == "none" and self.output.datatype in BY_TRITON

    @property
    def heads(self) -> "Sequence[Classify]":
        return (self,)

    @property
    def outputs(self) -> Sequence[Output]:
        if not self.by_triton:
            return (self.output,)
        wanted = self.top_k if self.classes is None else min(self.top_k, self.classes)
        return (replace(self.output, classes=wanted),)

    @property
    def names_wanted(self) -> Output | None:
        """The output to ask for once to learn the names of all classes; None: no output."""
        if self.by_triton or self.labels or self.output.datatype not in BY_TRITON:
            return None
        return replace(self.output, classes=self.classes or 1 << 20)

    def read(
        self, answered: Answered, sizes: Sequence[Size | None]
    ) -> Sequence[Result | ImageError]:
        if self.by_triton:
            rows = answered[self.output.name]
            tops = [tuple(map(parse_class, row)) for row in rows]
            return [self._named(top) for top in tops] if self.labels else tops
        scores = array(answered, self.output.name).reshape(len(sizes), -1)
        return [self._best(row) for row in scores]

    def _named(self, top: tuple[ScoredLabel, ...]) -> tuple[ScoredLabel, ...]:
        known = self.labels
        return tuple(
            ScoredLabel(
                label=label_of(known, one["class_id"])
                if one["class_id"] < len(known)
                else one["label"],
                class_id=one["class_id"],
                score=one["score"],
            )
            for one in top
        )

    def _best(self, numbers: npt.NDArray[Any]) -> Result | ImageError:
        try:
            finite(numbers, f"output {self.output.name}")
        except AnswerError as error:
            return error
        scores = activate(numbers, self.activation)
        best = np.argsort(-scores, kind="stable")[: self.top_k].tolist()
        return tuple(
            ScoredLabel(
                label=label_of(self.labels, place),
                class_id=place,
                score=round(float(scores[place]), 6),
            )
            for place in best
        )


@dataclass(frozen=True, slots=True)
class ClassifyHeads:
    """The best classes of several outputs; older readers know only the first output's."""

    heads: tuple[Classify, ...]

    @property
    def name(self) -> str:
        return "classify"

    @property
    def outputs(self) -> Sequence[Output]:
        return tuple(output for head in self.heads for output in head.outputs)

    def read(
        self, answered: Answered, sizes: Sequence[Size | None]
    ) -> Sequence[Result | ImageError]:
        columns = [head.read(answered, sizes) for head in self.heads]
        return [self._row(row) for row in zip(*columns, strict=True)]

    def _row(self, row: Sequence[Result | ImageError]) -> Result | ImageError:
        made: list[Head] = []
        for head, top in zip(self.heads, row, strict=True):
            if isinstance(top, ImageError):
                return top
            assert isinstance(top, tuple)
            made.append(Head(output=head.output.name, top=top))
        return Heads(tuple(made))


def activate(numbers: npt.NDArray[Any], activation: str) -> npt.NDArray[np.float64]:
    """Scores (float64) from numbers, along the last axis; the numbers must be finite."""
    values = numbers.astype(np.float64)
    if activation == "softmax":
        raised = np.exp(values - values.max(axis=-1, keepdims=True))
        made: npt.NDArray[np.float64] = raised / raised.sum(axis=-1, keepdims=True)
        return made
    if activation == "sigmoid":
        # Beyond these bounds exp() would overflow a float64, and the score is 0 or 1 anyway.
        values = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return values


def read_heads(
    outputs: Sequence[Output], top_k: int, text: Mapping[str, str], refuse: Refuse
) -> Classify | ClassifyHeads:
    """Raises what `refuse` makes of a parameter that cannot be used."""
    heads = [read_classify(output, top_k, text, refuse) for output in outputs]
    if len(heads) == 1:
        return heads[0]
    if LABELS in text:
        own = ", ".join(f"{LABELS}.{head.output.name}" for head in heads)
        raise refuse(
            f"its outputs have classes of their own: name them in {own}, instead of in {LABELS}"
        )
    return ClassifyHeads(tuple(heads))


def read_classify(output: Output, top_k: int, text: Mapping[str, str], refuse: Refuse) -> Classify:
    """Raises what `refuse` makes of a parameter that cannot be used."""
    classes = 1
    for size in output.dims:
        classes *= max(0, size)
    known = labels(text, output.name)
    if 0 < len(known) < classes:
        raise refuse(
            f"{LABELS} names {len(known)} classes, and output {output} has {classes}: name all of "
            "them, in their order"
        )
    return Classify(
        output,
        classes or None,
        top_k,
        choice(text, "postprocess.activation", ACTIVATIONS, "none", refuse),
        known,
    )


def parse_class(text: bytes) -> ScoredLabel:
    """Read one "score:index[:label]"; without a label, the index is the label."""
    score, _, rest = text.partition(b":")
    label, class_id = _parse_label(rest)
    return {"label": label, "class_id": class_id, "score": float(score)}


@lru_cache(4096)  # a model answers with at most a few thousand different classes
def _parse_label(text: bytes) -> tuple[str, int]:
    index, _, label = text.decode().partition(":")
    label = label.removesuffix("\r")  # kept by Triton from a file with Windows line ends
    return label or index, int(index)
