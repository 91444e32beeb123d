import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from consumer.measuring.statistics import latency
from consumer.report import charts
from consumer.report.axes import LETTER, Room, set_axis
from consumer.report.distribution import distribution
from consumer.report.svg import FONT, NARROW, SVG, WIDE, draw
from consumer.summary import SummaryError
from consumer.units import duration

# The first call imports and compiles; how long it takes is no promise.
anyhow = settings(deadline=None)
LATENCIES = st.lists(st.integers(0, 10**10), min_size=1, max_size=60)


def axes(width: float, height: float) -> Room:
    return Room(Figure().add_subplot(), width, height, 11)


@anyhow
@given(low=st.floats(1e-3, 1e3), ratio=st.floats(1.01, 1e6), log=st.booleans())
def test_labels_lie_within_their_axis_and_are_few(low: float, ratio: float, log: bool) -> None:
    for axis in ("x", "y"):
        room = axes(240, 190)
        set_axis(room, axis, low, low * ratio, duration, log=log)
        target = room.panel.xaxis if axis == "x" else room.panel.yaxis
        ticks = target.get_ticklocs()
        assert all(low * 0.999 <= tick <= low * ratio * 1.001 for tick in ticks)
        assert len(ticks) <= 12


@settings(deadline=None, max_examples=4, phases=[Phase.explicit, Phase.generate])  # drawing is slow
@example([0])
@example([1, 10**10])
@given(values=LATENCIES)
def test_a_chart_of_any_latencies_stays_within_its_drawing(values: list[int]) -> None:
    found = latency(np.array(values, np.int64))
    assert found is not None
    run = distribution(found)
    assert run is not None
    seconds = np.arange(len(values), dtype=np.float64)
    for made in (
        draw(lambda room: charts.histogram(room, [("a", run)], marks=True)),
        draw(lambda room: charts.histogram(room, [("a", run), ("b", run)], marks=False)),
        draw(lambda room: charts.by_percentile(room, [("a", run)])),
        draw(lambda room: charts.over_time(room, seconds, np.array(values) / 1000)),
    ):
        for frame, drawn in zip((WIDE, NARROW), made.drawn, strict=True):
            root = ET.fromstring(drawn)  # noqa: S314 - it is ours
            paths = [one.get("d", "") for one in root.iter(f"{SVG}path")]
            assert paths
            for path in paths:
                x, y = np.array(re.findall(r"[ML] (\S+) (\S+)", path), np.float64).T
                assert -0.5 <= min(x) <= max(x) <= frame.width
                assert -0.5 <= min(y) <= max(y) <= frame.height
            for text in root.iter(f"{SVG}text"):
                width = LETTER * FONT * len(text.text or "")
                anchor = re.search(r"text-anchor: (\w+)", text.get("style", ""))
                before = {"middle": 0.5, "end": 1.0}.get(anchor[1] if anchor else "", 0.0)
                start = float(text.get("x", "")) - before * width
                assert start >= -2, text.text
                assert start + width <= frame.width + 2, text.text


def test_a_drawing_takes_its_colours_from_the_page_and_refers_to_nothing() -> None:
    made = draw(lambda room: charts.over_time(room, np.arange(300.0), np.arange(1, 301.0)))
    for drawn in made.drawn:
        for word in ("#", "id=", "href", "url(", "<style", "http:"):
            assert word not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "var(--blue)" in drawn


@anyhow
@given(values=LATENCIES)
def test_the_distribution_in_a_summary_gives_its_percentiles(values: list[int]) -> None:
    found = latency(np.array(values, np.int64))
    assert found is not None
    run = distribution(found)
    assert run is not None
    assert run.total == len(values)
    levels = run.at([entry.percentile for entry in found.percentiles])
    for entry, ms in zip(found.percentiles, levels.tolist(), strict=True):
        assert ms == pytest.approx(min(entry.ms, found.max_ms))


def test_a_long_run_makes_no_more_dots_than_there_is_room_for() -> None:
    many = np.random.default_rng(0).uniform(1, 100, 200_000)
    made = draw(lambda room: charts.over_time(room, np.arange(200_000) / 100, many))
    assert len(made.drawn[0]) < 1_200_000


@pytest.mark.parametrize("text", ["", "rubbish", "HISTFAAAABx4nJNpmSzMwMD="])
def test_a_histogram_that_is_none_is_a_clear_error(text: str) -> None:
    found = latency(np.array([1000], np.int64))
    assert found is not None
    broken = type(found)(1, 0, 1.0, 1.0, 1.0, [], text)
    with pytest.raises(SummaryError, match="cannot be decoded"):
        distribution(broken)
