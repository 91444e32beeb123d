"""From the sections' JSON to a Markdown table, with what is promised beside what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import plots
from benchmarks.statistics import Spread, ratio

Found = Mapping[str, Mapping[str, Any]]

PEERS = ("usual demo", "careful consumer", "Quix Streams", "MLServer")
AT_LEAST_ONCE = ("Quix Streams",)
"""Peers with the guarantee of the bridge's default; MLServer's and the demo's is weaker."""


class Goal(NamedTuple):
    """One line of the verdict.

    Attributes:
        met: None where there is nothing to judge.
    """

    what: str
    wanted: str
    measured: str
    met: bool | None


def write(folder: Path, found: Found) -> str:
    """Write README.md and the plots into `folder`; the table's text."""
    pictures = plots.draw(folder, found)
    parts = ["# Results", "", *_about(found)]
    goals = [*_throughput_goals(found), *_overhead_goals(found), *_latency_goals(found)]
    if goals:
        rows = [
            (
                goal.what,
                goal.wanted,
                goal.measured,
                {True: "yes", False: "**no**", None: ""}[goal.met],
            )
            for goal in goals
        ]
        parts += ["## Ratios and goals", "", *_table(("", "goal", "measured", "met"), rows), ""]
    for name, title in (("throughput", "Through the real model"), ("overhead", "Null model"),
                        ("batches", "Triton by size of request")):  # fmt: skip
        if name in found:
            parts += [f"## {title}", "", *_measurements(found[name]), ""]
    if "latency" in found:
        parts += ["## Latency by offered load", "", *_latency(found["latency"]), ""]
    parts += [f"![{path.stem}]({path.name})" for path in pictures]
    text = "\n".join(parts).rstrip() + "\n"
    (folder / "README.md").write_text(text)
    return text


def _about(found: Found) -> list[str]:
    lines = [
        "Median (lowest to highest) of the repeats. Ratios are taken repeat by repeat between",
        "things measured one after the other on the same servers; absolute figures are this",
        "machine's and judge nothing.",
        "",
    ]
    for name, section in found.items():
        about = section["machine"]
        kind = ", quick" if section["quick"] else ""
        lines.append(
            f"- {name}: {about['device']}; {about['cpu']}, {about['cores']} cores, "
            f"{about['memory_gib']} GiB; {section['repeats']} repeats{kind}; {section['date']}; "
            f"load average before {about['load_average']}"
        )
    return [*lines, ""]


def rates(section: Mapping[str, Any], name: str) -> list[float]:
    """Images/s of each repeat; empty where it was not measured."""
    return [one["rate"] for one in section["measurements"].get(name, ())]


def _judge(what: str, ours: Sequence[float], theirs: Sequence[float], goal: float) -> list[Goal]:
    if not ours or len(ours) != len(theirs):
        return []
    spread = ratio(ours, theirs)
    return [Goal(what, f"≥ {goal:g}", spread.text(), spread.median >= goal)]


def _throughput_goals(found: Found) -> list[Goal]:
    section = found.get("throughput")
    if section is None:
        return []
    ours = rates(section, "bridge")
    goals = [
        *_judge("bridge ÷ ceiling with the same broker load", ours,
                rates(section, "ceiling with broker load"), 0.95),
        *_judge("exactly once ÷ at least once", rates(section, "bridge, exactly once"), ours, 0.85),
        *_judge("bridge ÷ usual demo", ours, rates(section, "usual demo"), 3),
    ]  # fmt: skip
    for peer in ("Quix Streams", "MLServer"):
        goals += _judge(f"bridge ÷ {peer}", ours, rates(section, peer), 2)
    for name in ("ceiling", "careful consumer"):
        theirs = rates(section, name)
        if ours and len(theirs) == len(ours):
            goals.append(Goal(f"bridge ÷ {name}", "", ratio(ours, theirs).text(), None))
    batch = [one["mean_batch"] for one in section["measurements"].get("bridge", ())]
    if batch:
        spread = Spread.of(batch)
        goals.append(
            Goal("mean batch in Triton, saturated", "≥ 16", spread.text(1), spread.median >= 16)
        )
    return goals


def _overhead_goals(found: Found) -> list[Goal]:
    section = found.get("overhead")
    if section is None:
        return []
    goals = []
    for name, limit in (("raw", 40), ("PNG", 120)):
        costs = [one["cpu_us"]["subject"] for one in section["measurements"].get(name, ())]
        if costs:
            spread = Spread.of(costs)
            goals.append(
                Goal(f"bridge's CPU per image, {name}, µs", f"≤ {limit}", spread.text(0),
                     spread.median <= limit)
            )  # fmt: skip
    one = section["measurements"].get("raw", ())
    if one:
        growth = Spread.of([(m["rss_bytes"][1] - m["rss_bytes"][0]) / 2**20 for m in one])
        goals.append(Goal("memory's growth over a window, MiB", "", growth.text(1), None))
    for encoding in ("raw", "PNG"):
        single = rates(section, encoding)
        for count in range(2, section["machine"]["cores"] + 1):
            several = rates(section, f"{encoding}, {count} bridges")
            goals += _judge(f"{count} bridges ÷ one, {encoding}", several, single, 0.9 * count)
    return goals


def points(section: Mapping[str, Any], subject: str, share: float) -> list[Mapping[str, Any]]:
    """The repeats of one point of the latency curve."""
    return [one for one in section["points"] if one["subject"] == subject and one["share"] == share]


def _latency_goals(found: Found) -> list[Goal]:
    section = found.get("latency")
    if section is None:
        return []
    share = min(one["share"] for one in section["points"])
    ours, alone = points(section, "bridge", share), points(section, "Triton", share)
    goals = []
    for name, extra in (("p50", 3.0), ("p99", 10.0)):
        spread = Spread.of([a[name] - b[name] for a, b in zip(ours, alone, strict=True)])
        goals.append(
            Goal(f"{name} at {share:.0%} load, bridge less Triton, ms", f"≤ {extra:g}",
                 spread.text(1), spread.median <= extra)
        )  # fmt: skip
    idle = Spread.of([one["mean_batch"] for one in ours])
    goals.append(Goal(f"mean batch at {share:.0%} load", "1", idle.text(2), idle.median < 1.1))
    shares = sorted({one["share"] for one in section["points"] if one["subject"] == "usual demo"})
    for at in shares:
        demo, bridge = points(section, "usual demo", at), points(section, "bridge", at)
        spread = ratio([one["p99"] for one in bridge], [one["p99"] for one in demo])
        goals.append(
            Goal(f"p99 at {at:.0%} load, bridge ÷ usual demo", "< 1", spread.text(),
                 spread.median < 1)
        )  # fmt: skip
    return goals


def _measurements(section: Mapping[str, Any]) -> list[str]:
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
                f"{Spread.of(mean).median:.1f}" if mean else "",
            )
        )
    head = ("", "images/s", "its CPU, µs/image", "Kafka's", "Triton's", "mean batch")
    failures = [
        f"\n{name} failed: {text.splitlines()[0]}" for name, text in section["failures"].items()
    ]
    return [*_table(head, rows), *failures]


def _latency(section: Mapping[str, Any]) -> list[str]:
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
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
