"""Ratios are taken repeat by repeat, and say how far they spread."""

import pytest

from benchmarks.spread import Spread, alternated, ratio


def test_a_ratio_is_taken_within_each_repeat() -> None:
    # The machine was twice as slow in the second repeat: the ratio does not see it.
    assert ratio([100, 50, 90], [200, 100, 200]) == Spread(0.5, 0.45, 0.5, (0.5, 0.5, 0.45))


def test_repeats_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1, 2], [1])


def test_nothing_measured_has_no_spread() -> None:
    with pytest.raises(ValueError, match="no repeats"):
        Spread.of([])


def test_every_second_repeat_is_reversed() -> None:
    assert [alternated("abc", repeat) for repeat in range(3)] == [
        ["a", "b", "c"],
        ["c", "b", "a"],
        ["a", "b", "c"],
    ]
