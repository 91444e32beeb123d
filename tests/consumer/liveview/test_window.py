"""Rates and percentiles of the last seconds, against exact ones."""

import numpy as np
import pytest

from consumer.liveview.window import HISTORY_SECONDS, SUMMARY_SECONDS, Window
from consumer.measuring.statistics import STAGES

NO_STAGES = [0] * len(STAGES)


def answer(window: Window, now: float, latency_us: int = 1000, batch: int = 1) -> None:
    window.answer(now, latency_us, NO_STAGES, batch, None)


def test_a_second_is_shown_once_it_is_over() -> None:
    window = Window(0.0)
    answer(window, 0.5)
    assert not window.history
    window.advance(1.0)
    assert [point.answered for point in window.history] == [1]


def test_percentiles_are_within_a_hundredth_of_the_exact_ones() -> None:
    latencies = np.random.default_rng(1).lognormal(9, 1, 5000).astype(int)
    window = Window(0.0)
    for latency in latencies.tolist():
        answer(window, 0.9, latency)
    window.advance(1.0)
    exact = np.percentile(latencies, (50, 90, 99)) / 1000
    point, summary = window.history[-1], window.summary
    assert (point.p50, point.p90, point.p99) == pytest.approx(tuple(exact), rel=0.01)
    assert (summary.p50, summary.p90, summary.p99) == pytest.approx(tuple(exact), rel=0.01)
    assert summary.longest == latencies.max() / 1000


def test_the_summary_forgets_what_is_older_than_its_seconds() -> None:
    window = Window(0.0)
    for _ in range(50):
        answer(window, 0.0, 1_000_000)
    for second in range(1, SUMMARY_SECONDS + 1):
        answer(window, second, 1000)
    window.advance(SUMMARY_SECONDS + 1)
    assert window.summary.rate == 1
    assert window.summary.p99 == pytest.approx(1, rel=0.01)


def test_a_silent_second_has_no_percentiles_and_a_long_silence_costs_no_memory() -> None:
    window = Window(0.0)
    answer(window, 0.0)
    window.advance(1e9)
    assert len(window.history) == HISTORY_SECONDS
    assert {point.p50 for point in window.history} == {None}
    assert window.summary.p50 is None
    assert window.summary.rate == 0


def test_images_a_request_are_the_mean_of_requests_and_not_of_images() -> None:
    window = Window(0.0)
    for size in (1, 3, 3, 3):
        answer(window, 0.0, batch=size)
    window.advance(1.0)
    assert window.summary.mean_request == pytest.approx(2)


def test_stages_are_means_and_leave_out_what_clocks_turned_around() -> None:
    window = Window(0.0)
    window.answer(0.0, 10, [2000, -5, *NO_STAGES[2:]], 1, None)
    window.answer(0.0, 10, [4000, -7, *NO_STAGES[2:]], 1, None)
    window.advance(1.0)
    assert window.summary.stages[:3] == (3.0, None, 0.0)


def test_an_answer_before_its_image_left_is_counted_and_not_measured() -> None:
    window = Window(0.0)
    answer(window, 0.0, -1)
    window.advance(1.0)
    assert window.summary.clock_errors == 1
    assert window.summary.p50 is None
    assert window.history[-1].answered == 1


def test_only_labelled_answers_count_as_right_or_wrong() -> None:
    window = Window(0.0)
    for right in (True, True, False, None):
        window.answer(0.0, 10, NO_STAGES, 1, right)
    window.advance(1.0)
    assert (window.summary.labelled, window.summary.correct) == (3, 2)
