"""Two runs side by side. Pure."""

from dataclasses import dataclass
from typing import Literal

from consumer.summary import Latency, Summary
from consumer.units import duration

Better = Literal["lower", "higher", "neither"]
Verdict = Literal["better", "worse", ""]

NOTICEABLE = 0.05
"""Relative change from which on a figure is called better or worse. Two runs of the same set-up
differ by less."""
MANY_TIMES = 10
"""Factor from which on a change is written as a factor, not in per cent."""
FEW = 10
"""Fewest images beyond a percentile for it to be steady; with fewer, one image more or less moves
it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A figure of both runs.

    Attributes:
        a, b: the values; None: the run does not have the figure.
        unit: ms, % or empty.
        few: whether one of the runs has fewer than `FEW` images beyond this percentile.
        least: difference from which on it is better or worse; None: `NOTICEABLE` times a.
        alike: False if the runs differ in something that affects this figure; it is not judged.
    """

    group: str
    name: str
    a: float | None
    b: float | None
    unit: str
    better: Better = "neither"
    few: bool = False
    least: float | None = None
    alike: bool = True

    @property
    def change_text(self) -> str:
        if self.a is None or self.b is None:
            return ""
        if self.a == self.b:
            return "="
        if self.unit == "%":
            return f"{self.b - self.a:+.2f} points"
        if not self.a:
            return "from none"
        ratio = self.b / self.a
        return f"{ratio - 1:+.1%}" if ratio < MANY_TIMES else f"{ratio:,.0f} times"

    @property
    def verdict(self) -> Verdict:
        """What the change means; empty: it is neither better nor worse, or must not be judged."""
        if self.a is None or self.b is None or self.better == "neither":
            return ""
        if self.few or not self.alike:
            return ""
        least = NOTICEABLE * self.a if self.least is None else self.least
        if self.a == self.b or abs(self.b - self.a) < least:
            return ""
        return "better" if (self.b > self.a) == (self.better == "higher") else "worse"

    def text(self, value: float | None) -> str:
        if value is None:
            return "-"
        if self.unit == "ms":
            return duration(value)
        if self.unit == "%":
            return f"{value:.2f} %"
        digits = 0 if value % 1 == 0 else 1
        return f"{value:,.{digits}f}{f' {self.unit}' if self.unit else ''}"


def compare(a: Summary, b: Summary) -> list[Line]:
    """All figures that at least one of the runs has, in reading order.

    Only comparable figures are judged: latency and rate at the same offered rate, the accuracy for
    the same images, and no time of an invalid run.
    """
    timed = _same_load(a, b) and a.valid and b.valid
    lines = [
        *_latency("latency from intended time", a.intended, b.intended, timed),
        *_latency("latency from send", a.sent_latency, b.sent_latency, timed),
        Line("images/s", "offered", a.offered_rate, b.offered_rate, ""),
        Line("images/s", "answered", a.throughput, b.throughput, "", "higher", alike=timed),
        Line("images/s", "images a request", a.mean_request, b.mean_request, ""),
    ]
    lines.append(Line("images", "sent", a.sent, b.sent, ""))
    lines.append(Line("images", "answered", a.answered, b.answered, ""))
    same = _same_images(a, b)
    for name in ("dead_lettered", "expired", "missing", "duplicates"):
        text = name.replace("_", "-")
        counts = (getattr(a, name), getattr(b, name))
        alike = same or name != "dead_lettered"
        if name != "expired" or any(counts):  # most bridges have no --max-age
            lines.append(Line("images", text, *counts, "", "lower", least=0, alike=alike))
    # Both runs had the same images, so any difference is real.
    shares = (_correct(a), _correct(b))
    lines.append(Line("images", "correct", *shares, "%", "higher", least=0, alike=same))
    stages = [{s.name: s.mean_ms for s in run.stages if s.known} for run in (a, b)]
    # A change of a very short stage means little: stages are judged against the whole latency.
    least = NOTICEABLE * sum(stages[0].values())
    for name in dict.fromkeys([*stages[0], *stages[1]]):
        text = name.replace("_", " ")
        ms = (stages[0].get(name), stages[1].get(name))
        lines.append(Line("stage, mean", text, *ms, "ms", "lower", least=least, alike=timed))
    return [line for line in lines if line.a is not None or line.b is not None]


def caveats(a: Summary, b: Summary) -> list[str]:
    """Why the two may not be compared, one sentence for each reason."""
    found = []
    for name, run in (("A", a), ("B", b)):
        if not run.valid:
            found.append(f"run {name} is not valid: {'; '.join(run.reasons)}")
        found += [f"run {name}: {note}" for note in run.notes]
    if set(a.models) != set(b.models):
        found.append(f"different models: A {_listed(a)}, B {_listed(b)}")
    if a.warmup != b.warmup:
        found.append(f"different warm-ups: A left out {a.warmup:,} images, B {b.warmup:,}")
    if not _same_load(a, b):
        offered = [f"{run.offered_rate:,.1f}" if run.offered_rate else "none" for run in (a, b)]
        found.append(
            f"different load: A was offered {offered[0]} images/s, B {offered[1]}; latency, stages "
            "and rate depend on it and are not judged"
        )
    if not _same_images(a, b):
        found.append(
            f"different images: A has {a.sent:,} ({a.labelled:,} answered with a known label), "
            f"B {b.sent:,} ({b.labelled:,}); what is right or refused depends on them and is not "
            "judged"
        )
    return found


def _same_load(a: Summary, b: Summary) -> bool:
    if not a.offered_rate or not b.offered_rate:
        return a.offered_rate == b.offered_rate
    return abs(b.offered_rate / a.offered_rate - 1) <= NOTICEABLE


def _same_images(a: Summary, b: Summary) -> bool:
    """Whether both runs had the same images, by their true labels, or else by their number."""
    if a.image_set and b.image_set:
        return a.image_set == b.image_set
    return a.sent == b.sent and a.labelled == b.labelled


def _latency(group: str, a: Latency | None, b: Latency | None, alike: bool) -> list[Line]:
    def mean(latency: Latency | None) -> float | None:
        return latency.mean_ms if latency is not None and latency.count else None

    lines = [Line(group, "mean", mean(a), mean(b), "ms", "lower", alike=alike)]
    both = [
        {entry.percentile: entry.ms for entry in run.percentiles} if run is not None else {}
        for run in (a, b)
    ]
    counts = [run.count for run in (a, b) if run is not None]
    for percentile in sorted({*both[0], *both[1]}):
        few = min(counts) * (100 - percentile) / 100 < FEW
        ms = [levels.get(percentile) for levels in both]
        lines.append(Line(group, f"p{percentile:g}", ms[0], ms[1], "ms", "lower", few, alike=alike))
    longest = [run.max_ms if run is not None and run.count else None for run in (a, b)]
    return [*lines, Line(group, "max", longest[0], longest[1], "ms", "lower", few=True)]


def _correct(run: Summary) -> float | None:
    return 100 * run.correct / run.labelled if run.labelled else None


def _listed(run: Summary) -> str:
    return ", ".join(sorted(run.models)[:5]) or "none"
