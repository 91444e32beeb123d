import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.measuring.statistics import latency
from consumer.report import charts, svg
from consumer.report.distribution import distribution
from consumer.summary import SummaryError

# The first call imports and compiles; how long it takes is no promise.
anyhow = settings(deadline=None)
LATENCIES = st.lists(st.integers(0, 10**10), min_size=1, max_size=60)


@anyhow
@given(low=st.floats(1e-3, 1e3), ratio=st.floats(1.01, 1e6), log=st.booleans())
def test_ticks_lie_within_their_scale_and_are_few(low: float, ratio: float, log: bool) -> None:
    scale = svg.horizontal(svg.WIDE, low, low * ratio, log=log)
    ticks = scale.ticks()
    assert all(low * 0.999 <= tick <= low * ratio * 1.001 for tick in ticks)
    assert len(ticks) <= 12


@anyhow
@given(values=LATENCIES, frame=st.sampled_from([svg.WIDE, svg.NARROW]))
def test_a_chart_of_any_latencies_stays_within_its_drawing(
    values: list[int], frame: svg.Frame
) -> None:
    found = latency(np.array(values, np.int64))
    assert found is not None
    run = distribution(found)
    assert run is not None
    seconds = np.arange(len(values), dtype=np.float64)
    for chart in (
        charts.histogram(frame, [("a", run)], marks=True),
        charts.histogram(frame, [("a", run), ("b", run)], marks=False),
        charts.by_percentile(frame, [("a", run)]),
        charts.over_time(frame, seconds, np.array(values) / 1000),
    ):
        for path in chart.paths:
            numbers = [float(text) for text in re.findall(r"[\d.]+(?!h0)", path.data)]
            assert path.data.startswith("M")
            assert min(numbers) >= 0
            assert max(numbers) <= frame.width
        for mark in chart.marks:
            assert frame.left <= mark.at <= frame.right
            assert mark.at + 5 + svg.LETTER * len(mark.text) <= frame.width


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
    path = charts.over_time(svg.WIDE, np.arange(200_000) / 100, many).paths[0]
    assert len(path.data) < 600_000


@pytest.mark.parametrize("text", ["", "rubbish", "HISTFAAAABx4nJNpmSzMwMD="])
def test_a_histogram_that_is_none_is_a_clear_error(text: str) -> None:
    found = latency(np.array([1000], np.int64))
    assert found is not None
    broken = type(found)(1, 0, 1.0, 1.0, 1.0, [], text)
    with pytest.raises(SummaryError, match="cannot be decoded"):
        distribution(broken)
