"""latency_histogram.png: one figure that shows a run."""

from collections.abc import Sequence
from typing import BinaryIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from consumer.measuring.statistics import Measured
from consumer.palette import PAGE_COLOURS, STAGE_COLOURS
from consumer.report.axes import Room
from consumer.report.charts import DASHES, Chart, charts_of
from consumer.report.style import STYLE, bare
from consumer.summary import Summary
from consumer.units import clipped, duration

INK, DIM, BAD = (PAGE_COLOURS[name].light for name in ("ink", "dim", "bad"))
INSIDE_TRITON = "#8fcdb0"
"""The colour of the parts inside the stage `triton`, paler than that of the stage itself."""
FONT = 9.5
PANEL = (370.0, 190.0)
"""Approximate width and height in points of the area within a panel's axes; the layout decides."""


def draw(file: BinaryIO, chosen: Measured, summary: Summary) -> None:
    """Draw a run as PNG: histogram, latency over time, percentile curve, stages."""
    with mpl.rc_context({**STYLE, "font.size": FONT}):
        make_figure(chosen, summary).savefig(file, format="png", dpi=130)


def make_figure(chosen: Measured, summary: Summary) -> Figure:
    """The figure that `draw` writes."""
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15, rect=(0, 0, 1, 0.9))
    figure = Figure(figsize=(13, 8.6), layout=layout)
    panels = figure.subplots(2, 2)
    _headline(figure, summary)
    charts = charts_of(chosen, summary)
    if not charts:
        for panel in panels.flat:
            panel.set_axis_off()
        panels[0, 0].text(0, 0.9, "No answered image to measure.", fontsize=12)
        return figure
    for panel, make in zip(panels.flat, charts, strict=False):
        _entitle(panel, make(Room(panel, *PANEL, FONT)))
    _stages(panels[1, 1], summary)
    return figure


def _entitle(panel: Axes, chart: Chart) -> None:
    bare(panel)
    _set_title(panel, chart.title)
    panel.set_xlabel(chart.x_label)
    panel.annotate(
        chart.y_label, (0, 1), xytext=(0, 8), xycoords="axes fraction", textcoords="offset points"
    )
    if len(chart.legend) > 1:
        handles = [_handle(entry.kind) for entry in chart.legend]
        panel.legend(
            handles, [entry.name for entry in chart.legend], loc="lower right",
            bbox_to_anchor=(1, 1.09), ncols=len(handles), frameon=False, borderaxespad=0,

            fontsize=9, handlelength=1.6, handletextpad=0.5, columnspacing=1.2,
        )  # fmt: skip


def _set_title(panel: Axes, title: str) -> None:
    panel.set_title(title, loc="left", pad=24, fontsize=11, weight="bold", color=INK)


def _handle(kind: str) -> Line2D:
    """A line as the charts draw it, for the legend."""
    if kind == "dots":
        return Line2D(
            [], [], color=PAGE_COLOURS["blue"].light, alpha=0.5, linestyle="", marker="o",
            markersize=4, markeredgewidth=0,
        )  # fmt: skip
    colour = {"median": "ink", "tail": "orange"}.get(kind, kind)
    return Line2D(
        [], [], color=PAGE_COLOURS[colour].light, linewidth=2,
        linestyle=DASHES[kind in ("orange", "tail")],
    )  # fmt: skip


def _headline(figure: Figure, summary: Summary) -> None:
    name = "all runs" if summary.run_id is None else f"run {clipped(summary.run_id, 60)}"
    figure.text(
        0.012, 0.968, "End-to-end latency", fontsize=17, weight="bold", color=INK, va="center"
    )
    figure.text(0.99, 0.968, name, fontsize=10, ha="right", va="center")
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
    figure.text(0.012, 0.936, "  ·  ".join(facts), fontsize=11, va="center")
    remark = "; ".join(summary.notes)
    if not summary.valid:
        remark = "INVALID: " + "; ".join([*summary.reasons, *summary.notes])
    if remark:
        colour = DIM if summary.valid else BAD
        figure.text(0.012, 0.909, clipped(remark, 165), fontsize=9, color=colour, va="center")


def _stages(panel: Axes, summary: Summary) -> None:
    names = [stage.name.replace("_", " ") for stage in summary.stages]
    means = [stage.mean_ms for stage in summary.stages]
    notes = [
        f"{duration(stage.mean_ms)}  (p99 {duration(stage.p99_ms)})" if stage.known else "not known"
        for stage in summary.stages
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
    _set_title(panel, "Where the time goes")
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
    panel.grid(visible=True, axis="x")
    panel.grid(visible=False, axis="y")
    panel.spines[["top", "right", "bottom"]].set_visible(False)
    panel.tick_params(length=0, pad=6)
    longest = max(means, default=0) or 1
    panel.set_xlim(0, longest * 1.5)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    panel.locator_params(axis="x", nbins=6)
    for place, mean, note in zip(places, means, notes, strict=True):
        panel.text(mean + longest * 0.015, place, note, va="center", fontsize=8.5)
