"""Raw: the model's outputs as they are, in the JSON form of KServe's protocol v2."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from bridge.tasks.task import Answered, AnswerError, Output, Refuse, Result, array, finite
from imaging.rules import ImageError, Size
from wire.answers import OutputTensor, Tensors
from wire.prediction import MAX_PREDICTION

LEAST_BYTES = 2
"""Of a number in JSON, with the comma behind it."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Any outputs, unread."""

    outputs: Sequence[Output]

    @property
    def name(self) -> str:
        return "raw"

    def read(
        self, answered: Answered, sizes: Sequence[Size | None]
    ) -> Sequence[Result | ImageError]:
        return [self._tensors(answered, place) for place in range(len(sizes))]

    def _tensors(self, answered: Answered, place: int) -> Result | ImageError:
        made = []
        numbers = 0
        for output in self.outputs:
            values = array(answered, output.name)[place]
            numbers += values.size
            if numbers * LEAST_BYTES > MAX_PREDICTION:
                return AnswerError("too_large", _too_large(numbers))
            try:
                finite(values, f"output {output.name}")
            except AnswerError as error:
                return error
            flat = values.reshape(-1).tolist()
            made.append(
                OutputTensor(
                    name=output.name,
                    datatype=output.datatype,
                    shape=values.shape,
                    data=[_text(one) for one in flat] if output.datatype == "BYTES" else flat,
                )
            )
        return Tensors(tuple(made))


def _text(one: bytes) -> str:
    return one.decode(errors="replace")


def _too_large(numbers: int) -> str:
    return (
        f"its outputs have {numbers:,} numbers for an image, which make more than the "
        f"{MAX_PREDICTION:,} bytes that a prediction may have; choose among the outputs with "
        "postprocess.outputs, or give a smaller one in the model"
    )


def read_raw(outputs: Sequence[Output], refuse: Refuse) -> Raw:
    """Raises what `refuse` makes of outputs that can never be told."""
    if not outputs:
        raise refuse("it has no output")
    numbers = sum(prod(one.dims) for one in outputs if min(one.dims, default=1) > 0)
    if numbers * LEAST_BYTES > MAX_PREDICTION:
        raise refuse(_too_large(numbers))
    return Raw(tuple(outputs))
