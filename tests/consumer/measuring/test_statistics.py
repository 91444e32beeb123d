import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from consumer.measuring.matching import Int64, Matcher, Rows
from consumer.measuring.statistics import (
    LONGEST_US,
    PERCENTILES,
    STAGES,
    accuracy,
    latency,
    measured,
    stages,
    throughput,
)
from wire.prediction import STAMPS, Prediction, ScoredLabel

MS = 1_000_000
MICROSECONDS = st.lists(st.integers(0, 10**9), min_size=1, max_size=200)


def microseconds(values: list[int]) -> Int64:
    return np.array(values, np.int64)


@given(values=MICROSECONDS)
def test_percentiles_agree_with_the_exact_ones_within_the_histograms_precision(
    values: list[int],
) -> None:
    found = latency(microseconds(values))
    assert found is not None
    ordered = sorted(values)
    for entry in found.percentiles:
        rank = max(int(entry.percentile * len(values) / 100 + 0.5), 1)
        exact = ordered[rank - 1]
        assert exact <= round(entry.ms * 1000) <= exact * 1.001 + 1
        assert entry.ms <= found.max_ms
    assert found.max_ms * 1000 == pytest.approx(ordered[-1])
    assert found.min_ms * 1000 == pytest.approx(ordered[0])
    assert found.mean_ms * 1000 == pytest.approx(float(np.mean(values)))


@given(values=MICROSECONDS)
def test_a_percentile_counts_the_images_within_it(values: list[int]) -> None:
    found = latency(microseconds(values))
    assert found is not None
    assert [entry.percentile for entry in found.percentiles] == list(PERCENTILES)
    for entry in found.percentiles:
        assert entry.count == sum(value <= round(entry.ms * 1000) for value in values)


@given(values=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=100))
def test_negative_latencies_are_clock_errors_and_never_dropped_silently(values: list[int]) -> None:
    found = latency(microseconds(values))
    assert found is not None
    assert found.count + found.clock_errors == len(values)
    assert found.clock_errors == sum(value < 0 for value in values)


@given(first=MICROSECONDS, second=MICROSECONDS)
def test_histograms_of_two_runs_can_be_merged(first: list[int], second: list[int]) -> None:
    one, two = latency(microseconds(first)), latency(microseconds(second))
    both = latency(microseconds(first + second))
    assert one is not None
    assert two is not None
    assert both is not None
    merged = HdrHistogram.decode(one.histogram)
    merged.add(HdrHistogram.decode(two.histogram))
    assert merged.get_total_count() == both.count
    longest = max(first + second)
    assert min(merged.get_value_at_percentile(99), longest) / 1000 == both.at(99)


def test_a_latency_longer_than_a_day_is_kept() -> None:
    found = latency(microseconds([10**12, 10**12, LONGEST_US]))
    assert found is not None
    assert found.count == 3
    assert found.max_ms == LONGEST_US / 1000
    assert found.at(50) == pytest.approx(1e9, rel=0.001)
    assert [entry.count for entry in found.percentiles] == [2, 2, 3, 3, 3, 3]


def test_nothing_measured_is_no_distribution() -> None:
    assert latency(microseconds([])) is None


def run(gaps_ms: list[tuple[int, ...]], interval_ms: int = 10) -> Rows:
    """Image i is due at i * interval after the first; its stages take the given milliseconds."""
    matcher = Matcher(1000)
    for number, gaps in enumerate(gaps_ms):
        # Late enough that clocks which run backwards stay after the epoch.
        at = [number * interval_ms * MS + 1000 * MS]
        for gap in gaps:
            at.append(at[-1] + gap * MS)
        matcher.image(str(number), at[0], at[1], "cat")
        stamps = dict(zip(STAMPS, at[:-1], strict=True))
        best = ScoredLabel(label="cat" if number % 2 else "dog", class_id=3, score=0.5)
        matcher.prediction(Prediction(str(number), "m", "1", (best,), stamps, 1), at[-1])
    return matcher.rows()


@given(
    gaps=st.lists(st.tuples(*[st.integers(-3, 50)] * len(STAGES)), min_size=1, max_size=40),
    warmup=st.integers(0, 45),
)
def test_the_stages_split_the_latency_without_a_remainder(
    gaps: list[tuple[int, ...]], warmup: int
) -> None:
    rows = run(gaps)
    chosen = measured(rows, warmup)
    kept = gaps[warmup:]
    assert len(chosen.rows) == len(kept)
    assert chosen.from_intended.tolist() == [sum(gap) * 1000 for gap in kept]
    assert chosen.from_sent.tolist() == [sum(gap[1:]) * 1000 for gap in kept]
    spent = {
        name: column for (name, _, _), column in zip(STAGES, zip(*kept, strict=True), strict=False)
    }
    found = {stage.name: stage for stage in stages(rows, chosen.rows)}
    assert list(found) == list(spent)
    for name, column in spent.items():
        good = [ms for ms in column if ms >= 0]
        assert found[name].clock_errors == len(column) - len(good)
        assert found[name].mean_ms == pytest.approx(float(np.mean(good)) if good else 0.0)


def test_warm_up_leaves_out_the_images_that_were_due_first_not_those_answered_first() -> None:
    rows = run([(1, 1, 1, 1, 1, 500), (1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1)])
    assert measured(rows, 1).from_intended.tolist() == [6000, 6000]


def test_throughput_runs_from_the_first_due_to_the_last_answered() -> None:
    rows = run([(0, 0, 0, 0, 0, 10)] * 100)
    assert throughput(rows, measured(rows, 0)) == pytest.approx(100.0)
    assert throughput(rows, measured(rows, 100)) == 0.0


def test_accuracy_counts_answered_images_with_a_label() -> None:
    assert accuracy(run([(1,) * 6] * 7)) == (7, 3)
