"""The common style of all drawings of a run."""

from typing import Any

from matplotlib.axes import Axes

from consumer.palette import PAGE_COLOURS

STYLE: dict[Any, Any] = {
    # A run id is text, whatever it contains: no $ in it starts a formula.
    "text.parse_math": False,
    "text.color": PAGE_COLOURS["dim"].light,
    "svg.fonttype": "none",  # texts can then be read aloud, searched and copied
    "path.simplify": False,  # it would join dots to a crooked line
    "font.family": "DejaVu Sans",  # part of matplotlib: the same everywhere
    "axes.edgecolor": PAGE_COLOURS["dim"].light,
    "axes.labelcolor": PAGE_COLOURS["dim"].light,
    "axes.axisbelow": True,
    "axes.linewidth": 1,
    "xtick.labelcolor": PAGE_COLOURS["dim"].light,
    "ytick.labelcolor": PAGE_COLOURS["dim"].light,
    "grid.color": PAGE_COLOURS["rule"].light,
    "grid.linewidth": 1,
}


def bare(panel: Axes) -> None:
    """Remove the frame of these axes: a line stays at the bottom, and a thin one at each y
    label."""
    panel.patch.set_visible(False)
    panel.spines[["top", "left", "right"]].set_visible(False)
    panel.tick_params(length=0, pad=6, labelsize="medium")
    panel.grid(visible=True, axis="y")
    panel.grid(visible=False, axis="x")
