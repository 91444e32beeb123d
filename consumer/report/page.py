"""The report's pages: gathers their content and gives it to the templates.

Any text in them may come from a stranger: the templates escape all texts, and the page's own policy
forbids other scripts than its own and all access to the network.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from consumer.measuring.answers import Answers
from consumer.measuring.matching import Rows
from consumer.measuring.statistics import Measured
from consumer.palette import PAGE_COLOURS, STAGE_COLOURS
from consumer.report import charts, gallery, overlay
from consumer.report.comparison import caveats, compare
from consumer.report.confusion import confusion
from consumer.report.distribution import Distribution, distribution
from consumer.report.gallery import Place
from consumer.report.stories import stories
from consumer.report.svg import draw
from consumer.summary import Stage, Summary
from consumer.units import clipped, duration, share

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("theme.js", "find.js")
NAME_LENGTH = 80
"""Most characters of an id or a label: more would break the layout and say little."""

ID_LENGTH = 1000
"""Most characters of an id where it can be copied."""

STAGE_WORDS = {
    "producer_delay": "due until really sent",
    "kafka_in": "sent until the bridge had it",
    "decode": "decoding, resizing",
    "slot_wait": "waiting for a slot with Triton",
    "triton": "with Triton and back",
    "kafka_out": "answered until read from Kafka",
}


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage, its share (0 to 1) of the mean latency, and the length of its part of the bar (0 to
    1)."""

    stage: Stage
    words: str
    share: float
    length: float


def write_report(
    file: BinaryIO,
    rows: Rows,
    chosen: Measured,
    summary: Summary,
    pictures: Mapping[Place, str],
    answers: Answers | None = None,
) -> None:
    """Write a run as a page.

    Args:
        file: the file to write to.
        rows: the run's images.
        chosen: the images that were measured.
        summary: the run's summary.
        pictures: data URIs of images, by partition and offset.
        answers: boxes and vectors, some of which are shown.
    """
    answers = answers or Answers()
    detected, neighbours = overlay.shown(rows, answers, pictures)
    _write(
        file,
        "report.html",
        run=summary,
        charts=[draw(make) for make in charts.charts_of(chosen, summary)],
        stages=stage_rows(summary, _total(summary)),
        confusion=confusion(rows),
        wrong=gallery.cards(rows, gallery.wrong(rows), pictures),
        slowest=gallery.cards(rows, gallery.slowest(chosen), pictures, answers),
        detected=detected,
        neighbours=neighbours,
        stories=stories(rows),
    )


def write_comparison(file: BinaryIO, names: tuple[str, str], a: Summary, b: Summary) -> None:
    """Write two runs side by side as a page.

    Raises:
        SummaryError: a histogram cannot be decoded.
    """
    runs = [
        (name, found)
        for name, summary in zip(names, (a, b), strict=True)
        if (found := _distribution(summary)) is not None
    ]
    _write(
        file,
        "compare.html",
        names=names,
        runs=(a, b),
        caveats=caveats(a, b),
        lines=compare(a, b),
        # Both bars have the same scale: the longer one is the slower run.
        stages=[stage_rows(run, max(_total(a), _total(b))) for run in (a, b)],
        charts=[
            draw(lambda room: charts.histogram(room, runs, marks=False)),
            draw(lambda room: charts.by_percentile(room, runs)),
        ]
        if runs
        else [],
    )


def stage_rows(summary: Summary, longest_ms: float) -> list[StageRow]:
    """The stages of a run, for a bar in which `longest_ms` takes the whole width."""
    total = _total(summary)
    return [
        StageRow(
            stage,
            STAGE_WORDS.get(stage.name, ""),
            stage.mean_ms / total if total else 0.0,
            max(stage.mean_ms, 0.0) / longest_ms if longest_ms else 0.0,
        )
        for stage in summary.stages
    ]


def _total(summary: Summary) -> float:
    return sum(stage.mean_ms for stage in summary.stages)


def _distribution(summary: Summary) -> Distribution | None:
    return None if summary.intended is None else distribution(summary.intended)


def _write(file: BinaryIO, template: str, **content: object) -> None:
    script = "".join((TEMPLATES / name).read_text() for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template(template)
    text = page.render(
        **content,
        page_colours=PAGE_COLOURS,
        colours=STAGE_COLOURS,
        script=script,
        script_hash=f"sha256-{digest}",
    )
    # A single surrogate, which JSON may hold, cannot be encoded in UTF-8.
    file.write(text.encode(errors="replace"))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    environment.filters["score"] = share
    environment.filters["plain"] = lambda text: clipped(str(text), NAME_LENGTH)
    environment.filters["whole"] = lambda text: clipped(str(text), ID_LENGTH)
    environment.filters["when"] = _when
    return environment


def _when(ns: int) -> str:
    try:
        return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError):
        return "not a date"
