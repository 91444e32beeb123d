"""The plots of the benchmark, from the sections' JSON."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.plan import BESIDE, FEW_BRIDGES, SEVERAL_BRIDGES, TRITON
from benchmarks.plan import OURS as BRIDGE
from benchmarks.results import Found, Section, points, rates, windows
from benchmarks.spread import Spread

mpl.use("Agg")
SIZE = (8.0, 4.5)
DPI = 110
OURS, OTHERS, CEILING = "tab:blue", "tab:gray", "tab:green"
COLOURS = {TRITON: CEILING, BESIDE: "tab:olive", BRIDGE: OURS, FEW_BRIDGES: "tab:purple"}
STAGES = ("envelope", "decode", "request", "answer", "prediction")
REST = "Kafka's and gRPC's clients, threads"


class Picture(NamedTuple):
    path: Path
    title: str


class _Plot(NamedTuple):
    section: str
    title: str
    draw: Callable[[Axes, Section], None]


def draw(folder: Path, found: Found) -> list[Picture]:
    """Draw a plot for each section that has results."""
    pictures = []
    for name, plot in PLOTS.items():
        if plot.section not in found:
            continue
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        axes.set_title(plot.title, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        plot.draw(axes, found[plot.section])
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=DPI, metadata={"Software": ""})
        pictures.append(Picture(path, plot.title))
    return pictures


def _errors(spreads: Sequence[Spread]) -> list[list[float]]:
    return [[s.median - s.low for s in spreads], [s.high - s.median for s in spreads]]


def _throughput(axes: Axes, section: Section) -> None:
    spreads = {name: Spread.of(rates(section, name)) for name in section["measurements"]}
    names = sorted(spreads, key=lambda name: -spreads[name].median)
    values = [spreads[name] for name in names]
    colours = [
        CEILING
        if name.startswith("ceiling")
        else OURS
        if name.startswith("bridge") or name in SEVERAL_BRIDGES
        else OTHERS
        for name in names
    ]
    medians = [value.median for value in values]
    bars = axes.barh(names, medians, xerr=_errors(values), capsize=3, color=colours)
    axes.bar_label(bars, [f" {value:,.0f}" for value in medians], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("images/s (bars: median; whiskers: lowest to highest)")


def _batches(axes: Axes, section: Section) -> None:
    sizes = [int(name) for name in section["measurements"]]
    spreads = [Spread.of(rates(section, str(size))) for size in sizes]
    medians = [spread.median for spread in spreads]
    axes.errorbar(sizes, medians, yerr=_errors(spreads), marker="o", capsize=3, color=CEILING)
    for size, value in zip(sizes, medians, strict=True):
        axes.annotate(f"{value:,.0f}", (size, value), (0, 8), textcoords="offset points",
                      ha="center", fontsize=8)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_ylim(0, 1.15 * max(spread.high for spread in spreads))
    axes.set_xlabel("images in a request")
    axes.set_ylabel("images/s")
    axes.grid(alpha=0.3)


def _bridges(axes: Axes, section: Section) -> None:
    for encoding, colour in (("raw", OURS), ("PNG", "tab:orange")):
        spreads = {
            count: Spread.of(got)
            for count in section["counts"]
            if (got := rates(section, f"{encoding}, {count}"))
        }
        if 1 not in spreads:
            continue
        counts, values = list(spreads), list(spreads.values())
        medians = [value.median for value in values]
        axes.errorbar(counts, medians, yerr=_errors(values), marker="o", capsize=3, color=colour,
                      label=encoding)  # fmt: skip
        axes.plot(counts, [medians[0] * n for n in counts], ":", color=colour, alpha=0.7,
                  label=f"{encoding}, in proportion")  # fmt: skip
    axes.set_xticks(section["counts"])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"bridges, each with its partitions and {section['share']:g} of a core")
    axes.set_ylabel("images/s")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def _cpu(axes: Axes, section: Section) -> None:
    kinds = [kind for kind in ("raw", "PNG") if windows(section, kind)]
    parts: dict[str, list[float]] = {}
    for kind in kinds:
        stages = section.get("stages", {}).get(kind, {})
        costs = {stage: median(stages[stage]) for stage in STAGES if stage in stages}
        whole = {
            part: median(one["cpu_us"][part] for one in windows(section, kind))
            for part in ("subject", "kafka", "triton")
        }
        costs[REST] = max(0.0, whole["subject"] - sum(costs.values()))
        costs |= {"Kafka's broker": whole["kafka"], "Triton, with a null model": whole["triton"]}
        for name, cost in costs.items():
            parts.setdefault(name, []).append(cost)
    palette = mpl.colormaps["tab20c"].colors  # type: ignore[attr-defined]  # a ListedColormap
    shades = [*palette[0:4], palette[4], palette[6], palette[16], palette[18]]
    left = [0.0] * len(kinds)
    for (name, costs_of), shade in zip(parts.items(), shades, strict=False):
        axes.barh(kinds, costs_of, left=left, height=0.5, label=name, color=shade)
        left = [a + b for a, b in zip(left, costs_of, strict=True)]
    for place, kind in enumerate(kinds):
        own = median(one["cpu_us"]["subject"] for one in windows(section, kind))
        axes.plot([own, own], [place - 0.36, place + 0.36], color="black", linewidth=1)
        axes.annotate(f"the bridge: {own:.0f} µs", (own, place - 0.38), ha="right", fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("CPU time per image, µs")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _latency(axes: Axes, section: Section) -> None:
    for subject, colour in COLOURS.items():
        shares = sorted({one["share"] for one in section["points"] if one["subject"] == subject})
        at = [share * section["top_rate"] for share in shares]
        for level, style in (("p50", "-"), ("p99", "--")):
            values = [
                Spread.of([one[level] for one in points(section, subject, share)])
                for share in shares
            ]
            if values:
                axes.errorbar(at, [v.median for v in values], yerr=_errors(values), fmt=style,
                              marker="o", markersize=4, capsize=2, color=colour,
                              label=f"{subject}, {level}")  # fmt: skip
    axes.axvline(section["top_rate"], color=OURS, linestyle=":", alpha=0.7,
                 label="the bridge's throughput")  # fmt: skip
    axes.set_yscale("log")
    # A decade alone may have no more than one of its powers of ten in it.
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(left=0)
    axes.set_xlabel("offered load, images/s")
    axes.set_ylabel("latency from the due time, ms")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)


PLOTS = {
    "throughput": _Plot("throughput", "Throughput through the real model", _throughput),
    "throughput_by_batch": _Plot("batches", "Triton alone: throughput by batch size", _batches),
    "latency_by_load": _Plot("latency", "Latency of single images by offered load", _latency),
    "throughput_by_bridges": _Plot(
        "bridges", "Throughput by number of bridges, null model", _bridges
    ),
    "cpu_per_image": _Plot("overhead", "CPU time per image by stage, null model", _cpu),
}
