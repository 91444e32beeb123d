"""The charts of the report: what is drawn where. Pure; `chart.html` draws it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from consumer.report import svg
from consumer.report.distribution import Distribution
from consumer.report.svg import LETTER, Floats, Frame, Scale
from consumer.units import duration

BINS = 60
WINDOWS = 60
"""Parts of a run whose percentiles make the lines over time, at least `PER_WINDOW` images each."""
PER_WINDOW = 100
LEAST_MS = 0.001
"""What a log axis shows of zero: the resolution of a latency."""
MARKED = (50.0, 90.0, 99.0, 99.9)
MARK_HEIGHT = 13.0
"""Between the labels of two percentiles, which may lie on one place."""
MARK_LETTERS = 14
"""Of the longest label of a percentile: so much room is left to the right of the last one."""
CURVE_POINTS = 400
LONG_TAIL = 20.0
"""Longest by median latency, from where a linear axis hides everything but the tail."""
SHARES = (
    (1, "0"),
    (2, "50"),
    (10, "90"),
    (100, "99"),
    (1e3, "99.9"),
    (1e4, "99.99"),
    (1e5, "99.999"),
)


@dataclass(frozen=True, slots=True)
class Tick:
    """`anchor`: which part of the text lies at its place: its middle, or its end at the edge."""

    at: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Path:
    """Something drawn. `style`: its class in style.css; `name`: in the legend, empty: not there."""

    style: str
    data: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line up to `top` with a label to its right."""

    at: float
    top: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    frame: Frame
    title: str
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    paths: list[Path]
    marks: list[Mark] = field(default_factory=list)


def histogram(frame: Frame, runs: Sequence[tuple[str, Distribution]], marks: bool) -> Chart:
    """Latencies of one run or of several, each named; `marks`: percentiles of the first one."""
    low = max(min(float(run.ms[0]) for _, run in runs), LEAST_MS) * 0.9
    high = max(float(run.ms[-1]) for _, run in runs) * 1.1
    if high / low < 2:
        low, high = low / 1.5, max(high, low) * 1.5
    edges = np.geomspace(low, high, BINS + 1)
    heights = []
    for _, run in runs:
        counts, _ = np.histogram(np.maximum(run.ms, low), edges, weights=run.counts)
        # Of runs of different lengths the shapes are compared, not the sizes.
        heights.append(counts if len(runs) == 1 else counts * 100 / run.total)
    tallest = max(float(height.max()) for height in heights)
    x, y = svg.horizontal(frame, low, high, log=True), svg.vertical(frame, 0, tallest)
    if marks:
        # Each label lies above the lines to its right, which are shorter: it crosses none.
        x = replace(x, end=x.end - MARK_LETTERS * LETTER)
        y = replace(y, end=y.end + MARK_HEIGHT * (len(MARKED) + 1.5))
    return Chart(
        frame,
        title="Distribution",
        x_label="latency from the intended time (log axis)",
        y_label="images" if len(runs) == 1 else "% of images",
        x_ticks=_x_ticks(frame, x, duration),
        y_ticks=_ticks(y, lambda value: f"{value:,.10g}"),
        paths=[
            Path(f"area series{number}", svg.steps(x(edges), y(height), y.start), name)
            for number, ((name, _), height) in enumerate(zip(runs, heights, strict=True))
        ],
        marks=_marks(frame, runs[0][1], x) if marks else [],
    )


def by_percentile(frame: Frame, runs: Sequence[tuple[str, Distribution]]) -> Chart:
    """The latency at each percentile, the last ones drawn out."""
    reach = max(run.total for _, run in runs) * 2
    highest = max(float(run.ms[-1]) for _, run in runs)
    medians = [float(run.at([50.0])[0]) for _, run in runs]
    log = highest > LONG_TAIL * max(min(medians), LEAST_MS)
    lowest = max(min(float(run.ms[0]) for _, run in runs), LEAST_MS)
    x = svg.horizontal(frame, 1, max(reach, 4), log=True)
    top = max(highest, LEAST_MS) * 1.05
    y = svg.vertical(frame, lowest / 1.2 if log else 0, top, log=log)
    paths = []
    for number, (name, run) in enumerate(runs):
        # The slowest of n images lies at 1 - 1/n; it is drawn at 1 - 1/2n.
        rest = np.geomspace(1, 0.5 / run.total, CURVE_POINTS)
        level = run.at(100 * (1 - rest))
        paths.append(Path(f"line series{number}", svg.line(x(1 / rest), y(level)), name))
    shown = [Tick(x.at(at), f"{text} %") for at, text in SHARES if at <= reach]
    return Chart(
        frame,
        title="By percentile",
        x_label="percentile (log axis of the rest)",
        y_label="latency (log axis)" if log else "latency",
        x_ticks=_apart(frame, shown),
        y_ticks=_ticks(y, duration),
        paths=paths,
    )


def over_time(frame: Frame, seconds: Floats, latency: Floats) -> Chart:
    """Each image through the run; float64 [n] seconds (rising) and milliseconds, at least one."""
    shown = np.maximum(latency, LEAST_MS)
    x = svg.horizontal(frame, 0, max(float(seconds[-1]), 0.001) if seconds[-1] else 1)
    y = svg.vertical(frame, float(shown.min()) / 1.3, float(shown.max()) * 1.3, log=True)
    paths = [Path("dots", svg.dots(x(seconds), y(shown)), "each image")]
    windows = min(WINDOWS, len(latency) // PER_WINDOW)
    if windows >= 2:
        parts = np.array_split(shown, windows)
        middle = np.array([np.median(part) for part in np.array_split(seconds, windows)])
        for percentile, style in ((50, "median"), (99, "tail")):
            level = np.array([np.percentile(part, percentile) for part in parts])
            name = f"p{percentile} of each {len(parts[0]):,}"
            paths.append(Path(f"line {style}", svg.line(x(middle), y(level)), name))
    return Chart(
        frame,
        title="Through the run",
        x_label="seconds since the first intended time",
        y_label="latency (log axis)",
        x_ticks=_x_ticks(frame, x, lambda value: f"{value:,.10g}"),
        y_ticks=_ticks(y, duration),
        paths=paths,
    )


def _ticks(scale: Scale, text: Callable[[float], str]) -> list[Tick]:
    return [Tick(scale.at(value), text(value)) for value in scale.ticks()]


def _x_ticks(frame: Frame, scale: Scale, text: Callable[[float], str]) -> list[Tick]:
    return _apart(frame, _ticks(scale, text))


def _apart(frame: Frame, ticks: Sequence[Tick]) -> list[Tick]:
    """Those of the ticks, from the left, whose texts neither touch nor leave the drawing."""
    found: list[Tick] = []
    free = 0.0
    for tick in ticks:
        width = LETTER * len(tick.text)
        over = tick.at + width / 2 > frame.width
        start = frame.width - width if over else tick.at - width / 2
        if start >= free:
            found.append(replace(tick, anchor="end") if over else tick)
            free = start + width + LETTER
    return found


def _marks(frame: Frame, run: Distribution, x: Scale) -> list[Mark]:
    levels = run.at([*MARKED, 100.0]).tolist()
    found = zip([*(f"p{percentile:g}" for percentile in MARKED), "max"], levels, strict=True)
    return [
        Mark(x.at(ms), frame.top + MARK_HEIGHT * step, f"{name} {duration(ms)}")
        for step, (name, ms) in enumerate(found)
    ]
