"""Medians, spreads and ratios of repeated measurements. Pure."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Spread(NamedTuple):
    """A figure over several repeats.

    Attributes:
        values: one value for each repeat, in order.
    """

    median: float
    low: float
    high: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of these values; ValueError where there are none."""
        if not values:
            raise ValueError("no repeats")
        return cls(median(values), min(values), max(values), tuple(values))

    def text(self, digits: int = 2) -> str:
        """The median, with the lowest and the highest value."""
        low, high = f"{self.low:,.{digits}f}", f"{self.high:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({low} to {high})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ratio of each repeat, so that whatever slowed down one repeat slowed down both.

    Raises:
        ValueError: not as many repeats of one as of the other, or none.
    """
    return Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])


def alternated(names: Sequence[str], repeat: int) -> list[str]:
    """The order of one repeat: every second one is reversed, so that no one is always first."""
    return list(names) if repeat % 2 == 0 else list(reversed(names))
