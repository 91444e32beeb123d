"""From the sections' JSON to a Markdown table, with what is promised beside what was measured."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks import goals, plots
from benchmarks.results import Found, Section, points
from benchmarks.spread import Spread

INTRODUCTION = """\
Median (lowest to highest) of the repeats. Ratios are taken repeat by repeat between things measured
one after the other on the same servers; absolute figures are this machine's and judge nothing.
`make bench` renews all of it."""
VERDICT = {True: "yes", False: "**no**", None: ""}
TITLES = {
    "throughput": "Through the real model",
    "overhead": "Against a null model, which answers at once",
    "bridges": "Several bridges against a null model, each with its share of a core",
    "batches": "Triton alone, by size of the requests",
    "formats": "Triton alone, by the model's format and precision",
    "photos": "Photos, decoded by the bridge or in Triton",
}


def write(folder: Path, found: Found) -> str:
    """Write README.md and the plots into `folder`; the table's text."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = plots.draw(folder, found)
    rows = [(*goal[:3], VERDICT[goal.met]) for goal in goals.judge(found)]
    parts = ["# Results", "", INTRODUCTION, "", *_about(found), ""]
    parts += ["## Goals", "", *table(("", "goal", "measured", "met"), rows), ""]
    for name, title in TITLES.items():
        if name in found:
            parts += [f"## {title}", "", *_measurements(found[name]), ""]
    if "stages" in found.get("overhead", ()):
        parts += ["## The bridge's own stages", "", *_stages(found["overhead"]), ""]
    if "latency" in found:
        parts += ["## Latency by offered load", "", *_latency(found["latency"]), ""]
    for picture in pictures:
        parts += [f"![{picture.title}]({picture.path.name})", ""]
    text = "\n".join(parts).rstrip() + "\n"
    (folder / "README.md").write_text(text)
    return text


def _about(found: Found) -> Iterator[str]:
    for name, section in found.items():
        about = section["machine"]
        kind = ", quick" if section["quick"] else ""
        yield (
            f"- {name}: {about['device']}; {about['cpu']}, {about['cores']} cores, "
            f"{about['memory_gib']} GiB; repeats: {section['repeats']}{kind}; {section['date']}; "
            f"load average before: {about['load_average']}"
        )
        if about["load_average"] > about["cores"] / 2:
            yield "  (**other programs used the machine meanwhile: take this for a trial**)"


def _measurements(section: Section) -> Iterator[str]:
    rows = []
    for name, measured in section["measurements"].items():
        mean = [one["mean_batch"] for one in measured if one["mean_batch"] is not None]
        rows.append(
            (
                name,
                Spread.of([one["rate"] for one in measured]).text(0),
                *(
                    Spread.of([one["cpu_us"][part] for one in measured]).text(0)
                    for part in ("subject", "kafka", "triton")
                ),
                f"{median(mean):.1f}" if mean else "",
            )
        )
    head = ("", "images/s", "its CPU, µs/image", "Kafka's", "Triton's", "mean batch in Triton")
    yield from table(head, rows)
    settings = section.get("settings", {})
    if settings:
        yield ""
        yield "; ".join(f"{name.replace('_', ' ')}: {is_}" for name, is_ in settings.items())
    yield from _failures(section)


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
        for subject in ("Triton", "bridge", "usual demo"):
            here = points(section, subject, share)
            if here:
                rows.append(
                    (
                        f"{share:.0%}", f"{here[0]['rate']:,.0f}", subject,
                        *(Spread.of([one[p] for one in here]).text(1) for p in ("p50", "p99")),
                        f"{sum(one['sent'] - one['answered'] for one in here):,}",
                    )
                )  # fmt: skip
    head = ("load", "images/s", "", "p50, ms", "p99, ms", "unanswered in time")
    yield from table(head, rows)
    yield from _failures(section)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
