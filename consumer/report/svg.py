"""Places and paths on a drawing. Pure."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LETTER = 6.5
"""Mean width of a letter at the 11 px of the labels; a little too much is safe."""

CELL = 2.0
"""Dots nearer to each other than this are one: the file stays small however long the run was."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A drawing's size, and the area within its axes; the rest is for labels. y grows downwards."""

    name: str
    width: float
    height: float
    left: float = 58.0
    top: float = 22.0

    @property
    def right(self) -> float:
        return self.width - 14.0

    @property
    def bottom(self) -> float:
        return self.height - 42.0


WIDE = Frame("wide", 600.0, 290.0)
NARROW = Frame("narrow", 310.0, 250.0)
"""For a phone: scaled down, the labels of the wide one could not be read."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places; values outside `low`..`high` lie on its ends."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: Floats | list[float]) -> Floats:
        """Places of float64 [n] values, float64 [n]."""
        bounded = np.clip(np.asarray(values, np.float64), self.low, self.high)
        if self.log:
            share = np.log(bounded / self.low) / math.log(self.high / self.low)
        else:
            share = (bounded - self.low) / (self.high - self.low)
        places: Floats = self.start + share * (self.end - self.start)
        return places

    def at(self, value: float) -> float:
        return float(self([value])[0])

    def ticks(self) -> list[float]:
        """Round values within the scale: a handful, or on a long log scale the decades."""
        if not self.log:
            step = _round_step((self.high - self.low) / 5)
            first, last = math.ceil(self.low / step), math.floor(self.high / step)
            return [number * step for number in range(first, last + 1)]
        steps = (1, 2, 5) if self.high / self.low < 300 else (1,)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        every = [step * 10.0**decade for decade in decades for step in steps]
        return [value for value in every if self.low <= value <= self.high]


def horizontal(frame: Frame, low: float, high: float, *, log: bool = False) -> Scale:
    return Scale(low, high, frame.left, frame.right, log)


def vertical(frame: Frame, low: float, high: float, *, log: bool = False) -> Scale:
    return Scale(low, high, frame.bottom, frame.top, log)


def line(x: Floats, y: Floats) -> str:
    """A path through float64 [n] places."""
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def steps(edges: Floats, y: Floats, floor: float) -> str:
    """The outline of bars that stand on `floor`: float64 [n + 1] edges, float64 [n] tops."""
    path = f"M{edges[0]:.1f} {floor:.1f}"
    for left, right, top in zip(edges[:-1], edges[1:], y, strict=True):
        path += f"L{left:.1f} {top:.1f}H{right:.1f}"
    return f"{path}V{floor:.1f}"


def dots(x: Floats, y: Floats) -> str:
    """A path of dots (to be stroked with round ends): one wherever there is a value or more."""
    places = np.unique(np.round(np.stack((x, y)) / CELL), axis=1) * CELL
    return "".join(f"M{a:g} {b:g}h0" for a, b in places.T)


def _round_step(about: float) -> float:
    """1, 2 or 5 times a power of ten, not less than `about`."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= about * 0.999)
