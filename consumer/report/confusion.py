"""Which classes were taken for which others. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from consumer.measuring.matching import ANSWERED, NO_NAME, SEEN, UNCLASSED, Int64, Rows

MAX_CLASSES = 20
"""Most classes of a matrix. Nobody reads a larger one: then the most frequent confusions are
listed."""
MAX_PAIRS = 20


@dataclass(frozen=True, slots=True)
class Confusion:
    """Answered images with a known label.

    Attributes:
        labels: names of the classes, in alphabetical order; empty where there are too many.
        counts: int64 [true, predicted].
        pairs: (true, predicted, images) of the most frequent confusions.
    """

    labels: list[str]
    counts: Int64
    pairs: list[tuple[str, str, int]]


def labelled(rows: Rows) -> npt.NDArray[np.bool_]:
    """bool [n]: images answered with classes whose true label is known."""
    outcome = rows.state & (SEEN | ANSWERED | UNCLASSED)
    known = (rows.label != NO_NAME) & (rows.best != NO_NAME)
    found: npt.NDArray[np.bool_] = (outcome == SEEN | ANSWERED) & known
    return found


def confusion(rows: Rows) -> Confusion | None:
    """The confusion of a run's classes; None: no image's label is known."""
    known = labelled(rows)
    if not known.any():
        return None
    pairs, counts = np.unique(
        np.stack((rows.label[known], rows.best[known])), axis=1, return_counts=True
    )
    found = sorted(
        (
            (rows.names[true], rows.names[predicted], count)
            for (true, predicted), count in zip(pairs.T.tolist(), counts.tolist(), strict=True)
        ),
        key=lambda pair: (-pair[2], pair[0], pair[1]),
    )
    labels = sorted({name for true, predicted, _ in found for name in (true, predicted)})
    if len(labels) > MAX_CLASSES:
        labels = []
    matrix = np.zeros((len(labels), len(labels)), np.int64)
    if labels:
        place = {name: number for number, name in enumerate(labels)}
        for true, predicted, count in found:
            matrix[place[true], place[predicted]] = count
    wrong = [pair for pair in found if pair[0] != pair[1]]
    return Confusion(labels, matrix, wrong[:MAX_PAIRS])
