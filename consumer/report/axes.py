"""The axes of a chart: their room, their scales and their labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

Floats = npt.NDArray[np.float64]

LETTER = 0.6
"""Mean width of a letter, in font sizes; slightly too large is safe."""
CELL = 2.0
"""Distance in points within which dots are drawn as one. The file then stays small however long the
run was; more dots would only hide each other."""


@dataclass(frozen=True, slots=True)
class Room:
    """Axes and their size.

    Attributes:
        width, height: of the area within the axes, in points.
        font: size of the labels, in points.
    """

    panel: Axes
    width: float
    height: float
    font: float

    def letters(self, count: float) -> float:
        """The width of `count` letters, in points."""
        return count * LETTER * self.font


def thinned(
    room: Room, x: Floats, y: Floats, end: float, low: float, high: float
) -> tuple[Floats, Floats]:
    """One point for each cell of the drawing that has any points; float64 [n] x and y."""
    columns = np.round(x / end * room.width / CELL)
    rows = np.round(np.log(y / low) / np.log(high / low) * room.height / CELL)
    _, first = np.unique(np.stack((columns, rows)), axis=1, return_index=True)
    return x[first], y[first]


def set_axis(
    room: Room,
    axis: str,
    low: float,
    high: float,
    text: Callable[[float], str],
    *,
    log: bool = False,
    shown_to: float | None = None,
) -> None:
    """Scale and label an axis; no label is placed beyond `shown_to`."""
    panel, end = room.panel, high if shown_to is None else shown_to
    if log:
        (panel.set_xscale if axis == "x" else panel.set_yscale)("log")
        # A few labels in each decade, or, on a long axis, only the decades.
        steps = (1.0, 2.0, 5.0) if end / low < 300 else (1.0,)
        found = LogLocator(subs=steps, numticks=100).tick_values(low, end)
    else:
        found = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, end)
    (panel.set_xlim if axis == "x" else panel.set_ylim)(low, high)
    label_axis(
        room, axis, [(at, text(at)) for at in np.asarray(found).tolist() if low <= at <= end]
    )


def label_axis(
    room: Room, axis: str, ticks: Sequence[tuple[float, str]], *, even: bool = True
) -> None:
    """Put these labels at an axis; along x no more than fit side by side.

    Args:
        even: leave out every second label, or two of three, and so on; otherwise those without
            room.
    """
    shown = list(ticks)
    if axis == "x" and even:
        strides = (shown[::step] for step in range(1, len(shown) + 1))
        shown = next((some for some in strides if len(_apart(room, some)) == len(some)), shown[:1])
    if axis == "x":
        shown = _apart(room, shown)
    target = room.panel.xaxis if axis == "x" else room.panel.yaxis
    target.set_ticks([at for at, _ in shown], [text for _, text in shown])
    target.set_minor_locator(NullLocator())


def _apart(room: Room, ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """The labels along x, from the left, that do not touch and hardly leave the axes."""
    low, high = room.panel.get_xlim()
    place = np.log if room.panel.get_xscale() == "log" else np.asarray
    reach = float(place(high) - place(low))
    free, found = -room.letters(4), []
    for at, text in ticks:
        middle = float(place(at) - place(low)) / reach * room.width
        half = room.letters(len(text)) / 2
        if middle - half >= free and middle + half <= room.width + room.letters(2):
            found.append((at, text))
            free = middle + half + room.letters(1)
    return found
