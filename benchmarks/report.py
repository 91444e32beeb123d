"""Makes a Markdown table from the sections' JSON: the goals beside the measurements."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import goals, growth_table, plots
from benchmarks.plan import BESIDE, FEW_BRIDGES, OURS, OURS_EXACTLY_ONCE, TRITON
from benchmarks.results import Found, Section, points, rates
from benchmarks.rivals.table import lines as rivals_lines
from benchmarks.spread import Spread

INTRODUCTION = """\
Median (lowest to highest) of the repeats. Ratios are taken repeat by repeat between things measured
one after the other on the same servers; absolute figures are this machine's and judge nothing.
`make bench` renews all of it, with `DEVICE=cuda` that of a GPU."""

Column = Callable[[Mapping[str, Any]], float]
"""A figure of one window; KeyError or TypeError where it was not measured."""

VERDICT = {True: "yes", False: "**no**", None: ""}
LEVELS = ("p50", "p90", "p99")
TITLES = {
    "throughput": "Through the real model",
    "overhead": "Against a null model, which answers at once",
    "floats": "By the type of a model's input, 224x224, against a null model",
    "baseline": "Classification, beside the bridge of another commit",
    "bridges": "Several bridges against a null model, each with its share of a core",
    "tritons": "Several Tritons behind one bridge, each with its share of a core",
    "batches": "Triton alone, by size of the requests",
    "formats": "Triton alone, by the model's format and precision",
    "photos": "Photos, decoded by the bridge or in Triton",
    "references": "Images in the message, and in object storage, against a null model",
}


LATENCIES = {
    "latency": "Latency by offered load",
    "apart": "Latency by offered load, with the servers on cores of their own",
}


def write(folder: Path, found: Found) -> str:
    """Write README.md and the plots into `folder`; returns the text of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = plots.draw(folder, found)
    rows = [(*goal[:3], VERDICT[goal.met]) for goal in goals.judge(found)]
    parts = ["# Results", "", INTRODUCTION, "", *_about(found), ""]
    parts += ["## Goals", "", *table(("", "goal", "measured", "met"), rows), ""]
    for name, title in TITLES.items():
        if name in found:
            parts += [f"## {title}", "", *_measurements(found[name]), *_right(found[name]), ""]
    if "rivals" in found:
        parts += ["## Rivals", "", *rivals_lines(found["rivals"]), ""]
        parts += [*_failures(found["rivals"]), ""]
    if "stages" in found.get("overhead", ()):
        parts += ["## The bridge's own stages", "", *_stages(found["overhead"]), ""]
    for name, title in LATENCIES.items():
        if name in found:
            parts += [f"## {title}", "", *_latency(found[name]), ""]
    if "lone" in found:
        parts += ["## What single images cost", "", *_lone(found["lone"]), ""]
    if "freshness" in found:
        parts += [
            "## Twice the throughput, with --max-age",
            "",
            *_freshness(found["freshness"]),
            "",
        ]
    if "growth" in found:
        parts += ["## As there is more of it, against models that answer at once", ""]
        for head, cells in growth_table.tables(found["growth"]):
            parts += [*table(head, cells), ""]
        parts += [*_failures(found["growth"]), ""]
    if "memory" in found:
        parts += ["## The bridge's memory", "", *_memory(found["memory"]), ""]
    for picture in pictures:
        parts += [f"![{picture.title}]({picture.path.name})", ""]
    text = "\n".join(parts).rstrip() + "\n"
    (folder / "README.md").write_text(text)
    return text


def _about(found: Found) -> Iterator[str]:
    for name, section in found.items():
        about = section["machine"]
        kind = ", quick" if section["quick"] else ""
        load = about["load_average"]
        yield (
            f"- {name}: {about['device']}; {about['cpu']}, {about['cores']} cores, "
            f"{about['memory_gib']} GiB; repeats: {section['repeats']}{kind}; {section['date']}"
            + ("" if load is None else f"; load average before: {load}")
        )
        yield from (f"  ({text})" for text in _made(section))
        if load is not None and load > about["cores"] / 2:
            yield "  (**other programs used the machine meanwhile: take this for a trial**)"


def _made(section: Section) -> Iterator[str]:
    """The conditions of the measurements, for results that name them."""
    about = section["machine"]
    if "form" in section:
        yield section["form"]
    if section.get("unfinished"):
        yield "stopped before its end: what there was by then"
    if "commit" in about:
        versions = "; ".join(
            f"{name} {about['versions'][name]}"
            for name in ("torch", "nvidia-pytriton")
            if name in about["versions"]
        )
        driver = f"; driver {about['driver']}" if "driver" in about else ""
        yield f"commit {about['commit']}; {versions}{driver}"


def _measurements(section: Section) -> Iterator[str]:
    measurements = section["measurements"]
    columns = {
        title: column
        for title, column in COLUMNS.items()
        if any(_values(measured, column) for measured in measurements.values())
    }
    rows = []
    for name, measured in measurements.items():
        mean = [one["mean_batch"] for one in measured if one["mean_batch"] is not None]
        rows.append(
            (
                name,
                Spread.of([one["rate"] for one in measured]).text(0),
                *(_text(_values(measured, column)) for column in columns.values()),
                f"{median(mean):.1f}" if mean else "",
            )
        )
    yield from table(("", "images/s", *columns, "mean batch in Triton"), rows)
    yield from _settings(section)
    yield from _failures(section)


def _freshness(section: Section) -> Iterator[str]:
    rows = [
        (
            f"{one['rate']:,.0f}", f"{one['sent']:,}", f"{one['answered'] / one['sent']:.0%}",
            *(f"{one[level]:,.0f}" for level in LEVELS),
        )
        for one in section["points"]
    ]  # fmt: skip
    yield from table(
        ("images/s sent", "sent", "answered", *(f"{name}, ms" for name in LEVELS)), rows
    )
    yield ""
    yield (
        f"The bridge alone answers {section['top_rate']:,.0f} images/s; latency counts from the "
        f"intended time, --max-age is {section['max_age_s']:g} s"
    )
    yield from _failures(section)


def _memory(section: Section) -> Iterator[str]:
    rows = [
        (
            f"{one['after_s'] / 60:.0f}", f"{one['answered']:,.0f}",
            f"{one['rss_bytes'] / 2**20:.1f}",
        )
        for one in section["samples"]
    ]  # fmt: skip
    yield from table(("minutes", "images answered", "resident, MiB"), rows)
    yield from _settings(section)
    yield from _failures(section)


def _settings(section: Section) -> Iterator[str]:
    settings = section.get("settings", {})
    if settings:
        yield ""
        yield "; ".join(f"{name.replace('_', ' ')}: {is_}" for name, is_ in settings.items())


def _cpu(part: str) -> Column:
    return lambda one: one["cpu_us"][part]


def _joules(one: Mapping[str, Any]) -> float:
    return float(1e6 * one["gpu"]["watts"] / one["rate"])


COLUMNS: Mapping[str, Column] = {
    "its CPU, µs/image": _cpu("subject"),
    "Kafka's": _cpu("kafka"),
    "Triton's": _cpu("triton"),
    "GPU busy, %": lambda one: one["gpu"]["utilisation"],
    "GPU, W": lambda one: one["gpu"]["watts"],
    "GPU, J per million images": _joules,
}
"""Of a table of measurements, where there is something for them."""


def _values(measured: Sequence[Mapping[str, Any]], column: Column) -> list[float]:
    """The value of this name in each window that has it."""
    found = []
    for one in measured:
        try:
            found.append(column(one))
        except (KeyError, TypeError):  # not measured
            continue
    return found


def _text(values: Sequence[float]) -> str:
    return Spread.of(values).text(0) if values else ""


def _right(section: Section) -> Iterator[str]:
    """Right answers of the 1,000 shipped images, and torch without Triton."""
    right, alone = section.get("right", {}), section.get("torch_alone", {})
    rows = [
        (name, str(right.get(name, "")), _text(rates(section, name)), _text(alone.get(name, ())))
        for name in dict.fromkeys((*right, *alone))
    ]
    if rows:
        yield "\nThe 1,000 shipped images, and torch alone with pixels on the device:\n"
        yield from table(
            ("", "right of 1,000", "through Triton, images/s", "torch alone, images/s"), rows
        )


def _failures(section: Section) -> Iterator[str]:
    for name, text in section["failures"].items():
        yield f"\n{name} failed: {text.splitlines()[0]}"


def _stages(section: Section) -> Iterator[str]:
    kinds = section["stages"]
    names = list(next(iter(kinds.values())))
    rows = [(kind, *(Spread.of(of[name]).text(1) for name in names)) for kind, of in kinds.items()]
    yield from table(("CPU, µs/image", *names), rows)


def _latency(section: Section) -> Iterator[str]:
    rows = []
    for share in sorted({one["share"] for one in section["points"]}):
        for subject in (TRITON, BESIDE, OURS, FEW_BRIDGES, OURS_EXACTLY_ONCE):
            here = points(section, subject, share)
            if here:
                rows.append(
                    (
                        f"{share:.0%}", f"{here[0]['rate']:,.0f}", subject,
                        *(Spread.of([one[p] for one in here]).text(1) for p in LEVELS),
                        f"{sum(one['sent'] - one['answered'] for one in here):,}",
                        _late(here),
                    )
                )  # fmt: skip
    head = ("load", "images/s", "", "p50, ms", "p90, ms", "p99, ms", "unanswered in time",
            "senders late, p99, ms")  # fmt: skip
    yield from table(head, rows)
    yield from _slowest(section)
    yield from _settings(section)
    yield from _failures(section)


def _lone(section: Section) -> Iterator[str]:
    """CPU and wake-ups of each part, and of each of the bridge's threads, for an image."""
    repeats = section["repeats_of_parts"]
    rows = [
        (
            part,
            Spread.of([one[part]["cpu_us"] for one in repeats]).text(0),
            Spread.of([one[part]["wakes"] for one in repeats]).text(1),
        )
        for part in repeats[0]
    ]
    yield from table(("", "CPU, µs/image", "wake-ups/image"), rows)
    yield from _settings(section)


def _slowest(section: Section) -> Iterator[str]:
    """The stages in which the images were that make the bridge's p99 what it is, and the broker's
    longest pause meanwhile."""
    rows, names = [], []
    for share, subject in product(
        sorted({one["share"] for one in section["points"]}), (OURS, FEW_BRIDGES)
    ):
        measured = [one for one in points(section, subject, share) if one.get("slowest_ms")]
        if measured:
            here = [one["slowest_ms"] for one in measured]
            names = list(here[0])
            means = (f"{median(one[name] for one in here):.1f}" for name in names)
            pauses = [one["broker_pause_ms"] for one in measured if "broker_pause_ms" in one]
            pause = f"{max(pauses):.1f}" if pauses else ""
            rows.append((f"{share:.0%}", subject, *means, pause))
    if rows:
        yield (
            "\nWhere the slowest hundredth of the bridges' images were, mean ms; and the longest "
            "pause of the broker for collecting garbage:\n"
        )
        yield from table(
            ("load", "", *(name.replace("_", " ") for name in names), "broker's pause"), rows
        )


def _late(here: Sequence[Mapping[str, Any]]) -> str:
    late = [one["sender_late_ms"] for one in here if "sender_late_ms" in one]
    return f"{max(late):.1f}" if late else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
