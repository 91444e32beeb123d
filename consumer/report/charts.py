"""The charts of a run, for the figure and for the page, on axes of any size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from consumer.measuring.statistics import Measured
from consumer.palette import PAGE_COLOURS
from consumer.report.axes import Room, label_axis, set_axis, thinned
from consumer.report.distribution import Distribution, distribution
from consumer.summary import Summary
from consumer.units import duration

Floats = npt.NDArray[np.float64]

BINS = 60
WINDOWS = 60
"""Most parts of a run for the lines over time, with at least `PER_WINDOW` images each."""
PER_WINDOW = 100
LEAST_MS = 0.001
"""The value in milliseconds that a log axis shows for zero: the resolution of a latency."""
MARKED = (50.0, 90.0, 99.0, 99.9)
MARK_LETTERS = 14
"""Letters of the longest label of a percentile, which need room to the right of the last one."""
MARK_LINES = 1.2
"""Height of a percentile's label, in font sizes: two of them may lie on the same place."""
CURVE_POINTS = 400
LONG_TAIL = 20.0
"""Ratio of the longest to the median latency from which on the axis is logarithmic: a linear axis
would show nothing but the tail."""
DOT = 1e-4
"""Length of a dot, as a share of the axis; its round ends make it a dot."""
SHARES = (
    (1, "0"),
    (2, "50"),
    (10, "90"),
    (100, "99"),
    (1e3, "99.9"),
    (1e4, "99.99"),
    (1e5, "99.999"),
)
SERIES = (PAGE_COLOURS["blue"].light, PAGE_COLOURS["orange"].light)
DASHES: tuple[Literal["-"], Literal["--"]] = ("-", "--")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the legend. `kind`: blue or orange for a series, else dots, median or tail."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What stands beside a drawing."""

    title: str
    x_label: str
    y_label: str
    legend: tuple[Entry, ...]


def charts_of(chosen: Measured, summary: Summary) -> list[Callable[[Room], Chart]]:
    """Functions that draw the charts of a run; none where no image was measured.

    Raises:
        SummaryError: a histogram cannot be decoded.
    """
    found = None if summary.intended is None else distribution(summary.intended)
    if found is None:
        return []
    curves = [("from the intended time", found)]
    sent = None if summary.sent_latency is None else distribution(summary.sent_latency)
    if sent is not None:
        curves.append(("from the actual send", sent))
    good = chosen.from_intended >= 0
    seconds = (chosen.intended[good] - int(chosen.intended[0])) / 1e9
    latency = chosen.from_intended[good] / 1000
    return [
        lambda room: histogram(room, curves[:1], marks=True),
        lambda room: over_time(room, seconds, latency),
        lambda room: by_percentile(room, curves),
    ]


def histogram(room: Room, runs: Sequence[tuple[str, Distribution]], *, marks: bool) -> Chart:
    """Draw the latencies of one or more named runs; `marks`: also percentiles of the first run."""
    low = max(min(float(run.ms[0]) for _, run in runs), LEAST_MS) * 0.9
    high = max(float(run.ms[-1]) for _, run in runs) * 1.1
    if high / low < 2:
        low, high = low / 1.5, max(high, low) * 1.5
    edges = np.geomspace(low, high, BINS + 1)
    tallest = 0.0
    for number, (_, run) in enumerate(runs):
        counts, _ = np.histogram(np.maximum(run.ms, low), edges, weights=run.counts)
        # Where runs have different lengths, shapes are compared, not counts.
        shown = counts if len(runs) == 1 else counts * 100 / run.total
        tallest = max(tallest, float(shown.max()))
        colour = SERIES[number]
        room.panel.stairs(
            shown, edges, fill=True, facecolor=(colour, 0.22 if number else 0.55),
            edgecolor=colour, linestyle=DASHES[number], linewidth=1,
        )  # fmt: skip
    steps = len(MARKED) + 1
    # Each label lies above the lines to its right, which are shorter: it crosses none.
    kept = 1 - room.letters(MARK_LETTERS) / room.width if marks else 1.0
    line = MARK_LINES * room.font
    top = tallest / (1 - line * (steps + 1) / room.height) if marks else tallest
    set_axis(room, "x", low, low * (high / low) ** (1 / kept), duration, log=True, shown_to=high)
    set_axis(room, "y", 0, top, lambda value: f"{value:,.10g}", shown_to=tallest)
    if marks:
        levels = runs[0][1].at([*MARKED, 100.0]).tolist()
        names = [*(f"p{percentile:g}" for percentile in MARKED), "max"]
        for step, (name, ms) in enumerate(zip(names, levels, strict=True)):
            height = top * (1 - line * (step + 0.5) / room.height)
            room.panel.plot(
                [max(ms, low)] * 2, [0, height], color=PAGE_COLOURS["orange"].light, linewidth=1.2
            )
            room.panel.annotate(
                f"{name} {duration(ms)}", (max(ms, low), height), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=room.font,
                color=PAGE_COLOURS["ink"].light, gid="mark",
            )  # fmt: skip
    return Chart(
        "Distribution",
        "latency from the intended time (log axis)",
        "images" if len(runs) == 1 else "% of images",
        _series(runs),
    )


def by_percentile(room: Room, runs: Sequence[tuple[str, Distribution]]) -> Chart:
    """Draw the latency at each percentile; the highest percentiles get the most room."""
    reach = max(run.total for _, run in runs) * 2
    highest = max(float(run.ms[-1]) for _, run in runs)
    medians = [float(run.at([50.0])[0]) for _, run in runs]
    log = highest > LONG_TAIL * max(min(medians), LEAST_MS)
    lowest = max(min(float(run.ms[0]) for _, run in runs), LEAST_MS)
    top = max(highest, LEAST_MS) * 1.05
    bottom = lowest / 1.2 if log else 0
    for number, (_, run) in enumerate(runs):
        # The slowest of n images lies at 1 - 1/n; it is drawn at 1 - 1/2n.
        rest = np.geomspace(1, 0.5 / run.total, CURVE_POINTS)
        level = np.maximum(run.at(100 * (1 - rest)), bottom)
        room.panel.plot(
            1 / rest, level, color=SERIES[number], linewidth=2, linestyle=DASHES[number]
        )
    panel = room.panel
    panel.set_xscale("log")
    panel.set_xlim(1, max(reach, 4))
    ticks = [(at, f"{text} %") for at, text in SHARES if at <= reach]
    label_axis(room, "x", ticks, even=False)
    set_axis(room, "y", bottom, top, duration, log=log)
    return Chart(
        "By percentile",
        "percentile (log axis of the rest)",
        "latency (log axis)" if log else "latency",
        _series(runs),
    )


def over_time(room: Room, seconds: Floats, latency: Floats) -> Chart:
    """Draw each image of a run: float64 [n] seconds (rising) and milliseconds, at least one."""
    shown = np.maximum(latency, LEAST_MS)
    end = max(float(seconds[-1]), 0.001) if seconds[-1] else 1.0
    low, high = float(shown.min()) / 1.3, float(shown.max()) * 1.3
    legend = [Entry("each image", "dots")]
    x, y = thinned(room, seconds, shown, end, low, high)
    # Each dot is a very short line with round ends: a marker would take ten times as much text in
    # the file.
    gap = np.full_like(x, np.nan)
    room.panel.plot(
        np.stack((x, x + end * DOT, gap), 1).ravel(), np.stack((y, y, gap), 1).ravel(),
        color=PAGE_COLOURS["blue"].light, alpha=0.5, linewidth=3, solid_capstyle="round",
    )  # fmt: skip
    windows = min(WINDOWS, len(latency) // PER_WINDOW)
    if windows >= 2:
        parts = np.array_split(shown, windows)
        middle = [float(np.median(part)) for part in np.array_split(seconds, windows)]
        for percentile, kind, colour, dashes in (
            (50, "median", "ink", DASHES[0]), (99, "tail", "orange", DASHES[1]),
        ):  # fmt: skip
            level = [float(np.percentile(part, percentile)) for part in parts]
            room.panel.plot(
                middle, level, color=PAGE_COLOURS[colour].light, linewidth=2, linestyle=dashes
            )
            legend.append(Entry(f"p{percentile} of each {len(parts[0]):,}", kind))
    set_axis(room, "x", 0, end * (1 + DOT), lambda value: f"{value:,.10g}", shown_to=end)
    set_axis(room, "y", low, high, duration, log=True)
    return Chart(
        "Through the run",
        "seconds since the first intended time",
        "latency (log axis)",
        tuple(legend),
    )


def _series(runs: Sequence[tuple[str, Distribution]]) -> tuple[Entry, ...]:
    return tuple(
        Entry(name, kind) for (name, _), kind in zip(runs, ("blue", "orange"), strict=False)
    )
