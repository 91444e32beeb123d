"""latency_histogram.png: one figure that shows a run."""

from collections.abc import Sequence
from typing import Any, BinaryIO

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullLocator

from consumer.measuring.matching import Rows
from consumer.measuring.statistics import Measured
from consumer.palette import STAGE_COLOURS
from consumer.summary import Summary
from consumer.units import clipped, duration

Floats = npt.NDArray[np.float64]

BLUE, ORANGE, RED, GREY = "#2f6db3", "#e08a1e", "#c0392b", "#5f6b76"
INSIDE_TRITON = "#8fcdb0"
"""Paler than the stage that it is part of."""
MAX_POINTS = 20_000
"""Dots drawn over time: more would only hide each other."""
MARKED = (50.0, 90.0, 99.0, 99.9)
STYLE: dict[Any, Any] = {
    # A run id is text, whatever it holds: no $ in it starts a formula.
    "text.parse_math": False,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the figure is the same everywhere
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#aab2ba",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e6e9ec",
    "grid.linewidth": 0.8,
}


def draw(file: BinaryIO, rows: Rows, chosen: Measured, summary: Summary) -> None:
    """Draw a run as PNG: histogram, latency over time, percentile curve, stages."""
    with mpl.rc_context(STYLE):
        make_figure(rows, chosen, summary).savefig(file, format="png", dpi=130)


def make_figure(rows: Rows, chosen: Measured, summary: Summary) -> Figure:
    """The figure that `draw` writes."""
    intended = chosen.from_intended / 1000
    sent = chosen.from_sent / 1000
    good = intended >= 0
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15, rect=(0, 0, 1, 0.9))
    figure = Figure(figsize=(13, 8.6), layout=layout)
    panels = figure.subplots(2, 2)
    _headline(figure, summary)
    if good.any():
        _histogram(panels[0, 0], intended[good], summary)
        start = rows.times["intended"][chosen.rows[0]]
        _over_time(panels[0, 1], (chosen.intended[good] - start) / 1e9, intended[good])
        _percentile_curve(panels[1, 0], intended[good], sent[sent >= 0])
        _stages(panels[1, 1], summary)
    else:
        for panel in panels.flat:
            panel.set_axis_off()
        panels[0, 0].text(0, 0.9, "No answered image to measure.", fontsize=12, color=GREY)
    return figure


def _headline(figure: Figure, summary: Summary) -> None:
    name = "all runs" if summary.run_id is None else f"run {clipped(summary.run_id, 60)}"
    figure.text(0.012, 0.968, "End-to-end latency", fontsize=17, weight="bold", va="center")
    figure.text(0.99, 0.968, name, fontsize=10, color=GREY, ha="right", va="center")
    facts = [
        f"{summary.sent:,} sent",
        f"{summary.answered:,} answered",
        f"{summary.dead_lettered:,} dead-lettered",
        *([f"{summary.expired:,} expired"] if summary.expired else []),
        f"{summary.missing:,} missing",
        f"{summary.duplicates:,} duplicates",
    ]
    if summary.throughput:
        facts.append(f"{summary.throughput:,.0f} images/s")
    if summary.labelled:
        facts.append(f"{summary.correct:,} of {summary.labelled:,} correct")
    figure.text(0.012, 0.936, "  ·  ".join(facts), fontsize=11, color=GREY, va="center")
    remark = "; ".join(summary.notes)
    if not summary.valid:
        remark = "INVALID: " + "; ".join([*summary.reasons, *summary.notes])
    if remark:
        colour = GREY if summary.valid else RED
        figure.text(0.012, 0.909, clipped(remark, 165), fontsize=9, color=colour, va="center")


def _histogram(panel: Axes, latency: Floats, summary: Summary) -> None:
    low, high = max(latency.min(), 0.001) * 0.9, max(latency.max(), 0.002) * 1.1
    if high / low < 2:
        low, high = low / 1.5, high * 1.5
    bins = np.geomspace(low, high, 61).tolist()
    panel.hist(np.maximum(latency, low), bins=bins, color=BLUE, alpha=0.85, linewidth=0)
    panel.set_xscale("log")
    # Each label stands to the right of its line, above the lines to its right, which are shorter.
    _milliseconds(panel, "x", low, high, reach=high * (high / low) ** 0.2)
    panel.set_title("Distribution", pad=12)
    panel.set_xlabel("latency from the intended time of each image")
    panel.set_ylabel("images")
    panel.grid(visible=False, axis="x")
    # Room above the bars, a step for each label: percentiles may lie on one place.
    top = panel.get_ylim()[1]
    panel.set_ylim(0, top * 1.42)
    assert summary.intended is not None
    marks = [(f"p{p:g}", summary.intended.at(p)) for p in MARKED]
    marks.append(("max", summary.intended.max_ms))
    for step, (name, ms) in enumerate(marks):
        height = top * (1.38 - 0.075 * step)
        panel.plot([ms, ms], [0, height], color=ORANGE, linewidth=1.1, alpha=0.9)
        panel.annotate(
            f"{name}  {duration(ms)}",
            (ms, height),
            xytext=(4, -1),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )


def _over_time(panel: Axes, seconds: Floats, latency: Floats) -> None:
    step = max(1, len(latency) // MAX_POINTS)
    shown = np.maximum(latency[::step], 0.001)
    panel.scatter(seconds[::step], shown, s=5, color=BLUE, alpha=0.35, linewidths=0)
    windows = min(60, len(latency) // 20)
    if windows >= 2:
        parts = list(
            zip(np.array_split(seconds, windows), np.array_split(latency, windows), strict=True)
        )
        middle = [float(np.median(times)) for times, _ in parts]
        for percentile, colour in ((50, GREY), (99, ORANGE)):
            level = [max(float(np.percentile(part, percentile)), 0.001) for _, part in parts]
            panel.plot(middle, level, color=colour, linewidth=1.6, label=f"p{percentile}")
        panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    panel.set_yscale("log")
    low, high = shown.min() / 1.3, shown.max() * 1.8
    panel.set_ylim(low, high)
    _milliseconds(panel, "y", low, high)
    panel.set_title("Through the run", pad=12)
    panel.set_xlabel("seconds since the first intended time")
    panel.set_ylabel("latency")


def _percentile_curve(panel: Axes, intended: Floats, sent: Floats) -> None:
    for values, name, colour, dashes in (
        (intended, "from intended time", BLUE, "-"),
        (sent, "from the actual send", ORANGE, "--"),
    ):
        if len(values):
            ordered = np.sort(values)
            # Image k of n lies at percentile k/n; the last one is drawn at 1 - 1/2n.
            share = np.minimum(
                np.arange(1, len(ordered) + 1) / len(ordered), 1 - 0.5 / len(ordered)
            )
            panel.plot(1 / (1 - share), ordered, dashes, color=colour, linewidth=1.8, label=name)
    panel.set_xscale("log")
    reach = 2.0 * len(intended)
    ticks = [(1, "0"), (2, "50"), (10, "90"), (100, "99"), (1e3, "99.9"), (1e4, "99.99")]
    ticks += [(1e5, "99.999"), (1e6, "99.9999")]
    # On an axis this long the first two would touch.
    shown = [tick for tick in ticks if tick[0] <= reach and not (tick[0] == 2 and reach > 5e3)]
    panel.set_xticks([at for at, _ in shown], [f"{text} %" for _, text in shown])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    panel.set_title("By percentile", pad=12)
    panel.set_xlabel("share of images within the latency (log axis of the rest)")
    panel.set_ylabel("latency")
    panel.legend(loc="best", frameon=False)


def _stages(panel: Axes, summary: Summary) -> None:
    names = [stage.name.replace("_", " ") for stage in summary.stages]
    means = [stage.mean_ms for stage in summary.stages]
    notes = [
        f"{duration(stage.mean_ms)}  (p99 {duration(stage.p99_ms)})" for stage in summary.stages
    ]
    colours = [STAGE_COLOURS[stage.name].light for stage in summary.stages]
    for triton in summary.triton[:1]:
        place = names.index("triton") + 1 if "triton" in names else len(names)
        parts = (
            ("queue", triton.queue_ms),
            ("compute input", triton.compute_input_ms),
            ("compute infer", triton.compute_infer_ms),
            ("compute output", triton.compute_output_ms),
        )
        names[place:place] = [f"└ {name}" for name, _ in parts]
        means[place:place] = [ms for _, ms in parts]
        notes[place:place] = [duration(ms) for _, ms in parts]
        colours[place:place] = [INSIDE_TRITON] * len(parts)
    _bars(panel, names, means, notes, colours)
    panel.set_title("Where the time goes", pad=12)
    panel.set_xlabel("mean")


def _bars(
    panel: Axes,
    names: Sequence[str],
    means: Sequence[float],
    notes: Sequence[str],
    colours: Sequence[str],
) -> None:
    places = np.arange(len(names))
    panel.barh(places, means, color=colours, height=0.66)
    panel.set_yticks(places, names)
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")
    longest = max(means, default=0) or 1
    panel.set_xlim(0, longest * 1.5)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    panel.locator_params(axis="x", nbins=6)
    for place, mean, note in zip(places, means, notes, strict=True):
        panel.text(mean + longest * 0.015, place, note, va="center", fontsize=8.5, color=GREY)


def _milliseconds(
    panel: Axes, axis: str, low: float, high: float, reach: float | None = None
) -> None:
    """Label a log axis at 1, 2, 5 of each decade, or at the decades alone where it spans many.

    The axis goes on to `reach` without a label, if that is given.
    """
    steps = (1, 2, 5) if high / low < 300 else (1,)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    shown = [tick for tick in ticks if low <= tick <= high]
    if axis == "x":  # where labels stand side by side, eight have room
        shown = shown[:: -(-len(shown) // 8)] if shown else []
    target = panel.xaxis if axis == "x" else panel.yaxis
    target.set_ticks(shown, [duration(tick) for tick in shown])
    target.set_minor_locator(NullLocator())
    (panel.set_xlim if axis == "x" else panel.set_ylim)(low, reach or high)
