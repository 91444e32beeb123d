"""The plots of the benchmark, from the sections' JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.statistics import Spread

Found = Mapping[str, Mapping[str, Any]]

mpl.use("Agg")
SIZE = (7.0, 4.2)
DPI = 110
PARTS = {"subject": "the subject", "kafka": "Kafka", "triton": "Triton"}
COLOURS = {"Triton": "tab:green", "bridge": "tab:blue", "usual demo": "tab:red"}


def draw(folder: Path, found: Found) -> list[Path]:
    """Draw what there are results for."""
    drawn = []
    makers = {
        "throughput": ("throughput", _throughput),
        "throughput_by_batch": ("batches", _batches),
        "throughput_by_bridges": ("overhead", _bridges),
        "cpu_per_image": ("overhead", _cpu),
        "latency_by_load": ("latency", _latency),
    }
    for name, (section, maker) in makers.items():
        if section not in found:
            continue
        figure = Figure(figsize=SIZE, layout="constrained")
        maker(figure.subplots(), found[section])
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=DPI, metadata={"Software": ""})
        drawn.append(path)
    return drawn


def _rates(section: Mapping[str, Any], name: str) -> Spread:
    return Spread.of([one["rate"] for one in section["measurements"][name]])


def _bars(axes: Axes, spreads: Mapping[str, Spread]) -> None:
    names, values = list(spreads), list(spreads.values())
    errors = [[v.median - v.low for v in values], [v.high - v.median for v in values]]
    axes.barh(names, [v.median for v in values], xerr=errors, capsize=3)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)


def _throughput(axes: Axes, section: Mapping[str, Any]) -> None:
    _bars(axes, {name: _rates(section, name) for name in section["measurements"]})
    axes.set_xlabel("images/s through the real model")


def _batches(axes: Axes, section: Mapping[str, Any]) -> None:
    sizes = [int(name) for name in section["measurements"]]
    spreads = [_rates(section, str(size)) for size in sizes]
    errors = [[v.median - v.low for v in spreads], [v.high - v.median for v in spreads]]
    axes.errorbar(sizes, [v.median for v in spreads], yerr=errors, marker="o", capsize=3)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("images in a request to Triton")
    axes.set_ylabel("images/s")
    axes.grid(alpha=0.3)


def _bridges(axes: Axes, section: Mapping[str, Any]) -> None:
    for encoding in ("raw", "PNG"):
        by_count = {1: encoding} | {
            int(name.split()[1]): name
            for name in section["measurements"]
            if name.startswith(f"{encoding}, ") and name.endswith("bridges")
        }
        counts = [count for count, name in by_count.items() if name in section["measurements"]]
        medians = [_rates(section, by_count[count]).median for count in counts]
        if medians:
            axes.plot(counts, medians, marker="o", label=encoding)
            axes.plot(counts, [medians[0] * n for n in counts], ":", color="grey", alpha=0.6)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("bridges (dotted: in proportion)")
    axes.set_ylabel("images/s against the null model")
    axes.legend()
    axes.grid(alpha=0.3)


def _cpu(axes: Axes, section: Mapping[str, Any]) -> None:
    names = list(section["measurements"])
    left = [0.0] * len(names)
    for part, label in PARTS.items():
        costs = [
            Spread.of([one["cpu_us"][part] for one in section["measurements"][name]]).median
            for name in names
        ]
        axes.barh(names, costs, left=left, label="bridge" if part == "subject" else label)
        left = [a + b for a, b in zip(left, costs, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("CPU per image against the null model, µs")
    axes.legend()
    axes.grid(axis="x", alpha=0.3)


def _latency(axes: Axes, section: Mapping[str, Any]) -> None:
    for subject, colour in COLOURS.items():
        rates = sorted({one["rate"] for one in section["points"] if one["subject"] == subject})
        for level, style in (("p50", "-"), ("p99", "--")):
            values = [
                Spread.of(
                    [
                        one[level]
                        for one in section["points"]
                        if one["subject"] == subject and one["rate"] == rate
                    ]
                ).median
                for rate in rates
            ]
            axes.plot(rates, values, style, marker="o", color=colour, label=f"{subject}, {level}")
    axes.set_yscale("log")
    axes.set_xlabel("offered load, images/s")
    axes.set_ylabel("latency from the due time, ms")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
