"""The bridge beside its rivals, as a table: where a rival wins comes first. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.plan import LOW
from benchmarks.results import Section, points, rates, windows
from benchmarks.spread import Spread, ratio

CEILING = "Triton alone"
OURS = "bridge"
EXACTLY_ONCE = "exactly once"
LOADS = (LOW, 0.5)
"""Shares of the bridge's throughput at which latency is measured."""


def null(name: str) -> str:
    """The name of a rival's measurement with the null model, which answers at once."""
    return f"{name}, null model"


class Compared(NamedTuple):
    """A rival beside the bridge of the same guarantee or a stronger one.

    Attributes:
        ours: that bridge's name.
        model, null: ratio of the bridge's images/s to the rival's, through the real model and
            through the one that answers at once; above 1 the bridge is faster.
        most: the highest possible `model`: the ratio of Triton alone to the rival.
        p99: ratio of the rival's p99 to the bridge's, by load; above 1 the bridge answers sooner.
    """

    name: str
    ours: str
    model: Spread | None
    most: Spread | None
    null: Spread | None
    p99: dict[float, Spread]

    @property
    def wins(self) -> bool:
        """Whether the rival is better than the bridge at anything."""
        all_of_them = [one for one in (self.model, self.null, *self.p99.values()) if one]
        return any(one.median < 1 for one in all_of_them)


def compare(section: Section) -> list[Compared]:
    """Every rival that was measured; those that win at something first."""
    found = []
    for name, about in section["rivals"].items():
        if name.startswith(OURS) or not rates(section, name):
            continue
        ours = f"{OURS}, {EXACTLY_ONCE}" if about["guarantee"] == EXACTLY_ONCE else OURS
        p99 = {}
        for share in LOADS:
            pair = [
                [one["p99"] for one in points(section, who, share)] for who in (name, ours)
            ]  # fmt: skip
            if (spread := _ratio(*pair)) is not None:
                p99[share] = spread
        theirs = rates(section, name)
        found.append(
            Compared(
                name, ours,
                _ratio(rates(section, ours), theirs), _ratio(rates(section, CEILING), theirs),
                _ratio(rates(section, null(ours)), rates(section, null(name))), p99,
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (not one.wins, one.model.median if one.model else 0))


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread | None:
    # A run that was stopped early may have more repeats of the first measurement than of others.
    repeats = min(len(ours), len(theirs))
    return ratio(ours[:repeats], theirs[:repeats]) if repeats else None


def lines(section: Section) -> Iterator[str]:
    """Figures first, then the ratios, then what each is and how it was set."""
    names = [OURS, f"{OURS}, {EXACTLY_ONCE}", *(one.name for one in compare(section))]
    rows = [
        (
            name, section["rivals"][name]["guarantee"], _rate(section, name),
            _rate(section, null(name)), _cpu(section, name), _mean_batch(section, name),
            *(_latency(section, name, share) for share in LOADS),
        )
        for name in names if rates(section, name)
    ]  # fmt: skip
    rows.append((CEILING, "", _rate(section, CEILING), "", _cpu(section, CEILING), "", "", ""))
    yield from _table(
        ("", "guarantee", "images/s", "null model, images/s", "CPU of all parts, µs/image",
         "mean batch", *(f"p50 / p99 at {share:.0%}, ms" for share in LOADS)), rows,
    )  # fmt: skip
    yield ""
    yield "The bridge in each rival's terms (above 1 the bridge is better):"
    yield ""
    yield from _table(
        ("", "images/s", "at most", "null model, images/s",
         *(f"p99 at {share:.0%}" for share in LOADS)),
        [
            (
                f"**{one.name}**" if one.wins else one.name, *map(_text, (one.model, one.most)),
                _text(one.null), *(_text(one.p99.get(share)) for share in LOADS),
            )
            for one in compare(section)
        ],
    )  # fmt: skip
    yield ""
    for name, about in section["rivals"].items():
        right = section["right"].get(name)
        yield f"- {name}: {about['how']}" + (f" ({right} of 1,000 right)" if right else "")


def _rate(section: Section, name: str) -> str:
    found = rates(section, name)
    return Spread.of(found).text(0) if found else ""


def _cpu(section: Section, name: str) -> str:
    costs = [sum(one["cpu_us"].values()) for one in windows(section, name)]
    return f"{Spread.of(costs).median:,.0f}" if costs else ""


def _mean_batch(section: Section, name: str) -> str:
    sizes = [one["mean_batch"] for one in windows(section, name) if one["mean_batch"]]
    return f"{Spread.of(sizes).median:.1f}" if sizes else ""


def _latency(section: Section, name: str, share: float) -> str:
    here = points(section, name, share)
    if not here:
        return ""
    p50, p99 = (Spread.of([one[level] for one in here]).median for level in ("p50", "p99"))
    lost = sum(one["sent"] - one["answered"] for one in here)
    return f"{p50:,.1f} / {p99:,.1f}" + (f"; {lost:,} not in time" if lost else "")


def _text(spread: Spread | None) -> str:
    return spread.text() if spread else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "--:|" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
