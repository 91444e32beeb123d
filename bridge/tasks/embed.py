"""Embedding: an image as a vector, which helps to find similar images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bridge.tasks.task import Answered, AnswerError, Output, Refuse, Result, array, choice, finite
from imaging.rules import ImageError, Size
from wire.answers import FLOAT32, Embedding


@dataclass(frozen=True, slots=True)
class Embed:
    """One output as a vector.

    Attributes:
        unit_length: whether it is scaled to the length 1 (L2), so that a dot product is a cosine.
        encoding: how JSON holds it: base64 or list.
    """

    output: Output
    unit_length: bool
    encoding: Literal["list", "base64"]

    @property
    def name(self) -> str:
        return "embed"

    @property
    def outputs(self) -> Sequence[Output]:
        return (self.output,)

    def read(
        self, answered: Answered, sizes: Sequence[Size | None]
    ) -> Sequence[Result | ImageError]:
        rows = array(answered, self.output.name).reshape(len(sizes), -1)
        return [self._vector(row) for row in rows]

    def _vector(self, row: npt.NDArray[Any]) -> Result | ImageError:
        try:
            values = self._values(row)
        except AnswerError as error:
            return error
        return Embedding(values.tobytes(), self.encoding)

    def _values(self, row: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        finite(row, f"output {self.output.name}")
        if self.unit_length:
            row = row.astype(np.float64)
            length = float(np.linalg.norm(row))
            if not length:
                raise AnswerError("no_direction", "the model's vector is all 0")
            row = row / length
        with np.errstate(over="ignore"):
            values: npt.NDArray[np.float32] = row.astype(FLOAT32)
        finite(values, f"output {self.output.name}, as float32,")
        return values


def read_embed(output: Output, text: Mapping[str, str], refuse: Refuse) -> Embed:
    """Raises what `refuse` makes of a parameter that cannot be used."""
    length = choice(text, "postprocess.normalize", ("none", "l2"), "none", refuse)
    encoding = choice(text, "postprocess.encoding", ("base64", "list"), "base64", refuse)
    return Embed(output, length == "l2", "list" if encoding == "list" else "base64")
