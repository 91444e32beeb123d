import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.measuring.validity import Trend, reasons, trend

SECOND = 10**9


def why(
    *,
    sent: int = 100,
    missing: int = 0,
    expected: int | None = None,
    unmeasured: int = 0,
    unreadable: int = 0,
    clock_errors: int = 0,
    change: Trend | None = None,
    answered: int = 100,
    measured: int = 100,
    stored: int = 0,
    allow_backlog: bool = False,
) -> str:
    return "; ".join(
        reasons(
            sent=sent,
            missing=missing,
            expected=expected,
            unmeasured=unmeasured,
            unreadable=unreadable,
            clock_errors=clock_errors,
            change=change,
            answered=answered,
            measured=measured,
            stored=stored,
            allow_backlog=allow_backlog,
        )
    )


def test_a_run_with_everything_answered_is_valid() -> None:
    assert why() == ""
    assert why(stored=100) == ""
    assert why(expected=100, change=Trend(20, 5)) == ""


def test_every_fault_is_named() -> None:
    assert "3 images were neither answered" in why(missing=3)
    assert "only 100 of the 120" in why(expected=120)
    assert "no image was seen" in why(sent=0, answered=0, measured=0)
    assert "no image was answered" in why(answered=0, measured=0)
    assert "warm-up" in why(measured=0)
    assert "clocks" in why(clock_errors=1)
    assert "--max-images" in why(unmeasured=1)
    assert "not what their topic" in why(unreadable=1)
    assert "40 of 100 answers were on their topic" in why(stored=40)
    assert "backlog grew" in why(change=Trend(900, 50))
    assert why(change=Trend(900, 50), allow_backlog=True) == ""


def shape(rate: float, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return (np.arange(int(rate * seconds)) / rate * SECOND).astype(np.int64)


@given(rate=st.integers(50, 500), overload=st.floats(0.1, 2.0), seed=st.integers(0, 99))
def test_images_sent_faster_than_they_are_answered_show_as_a_growing_backlog(
    rate: int, overload: float, seed: int
) -> None:
    due = shape(rate, 5)
    noise = np.random.default_rng(seed).lognormal(np.log(10_000), 0.5, len(due))
    found = trend(due, (noise + due / 1000 * overload).astype(np.int64))
    assert found is not None
    assert found.growing
    assert found.rise_ms == pytest.approx(5000 * overload, rel=0.1)


@given(rate=st.integers(50, 500), seed=st.integers(0, 99), at=st.floats(0, 1))
def test_noise_and_one_stall_are_no_growing_backlog(rate: int, seed: int, at: float) -> None:
    due = shape(rate, 10)
    values = np.random.default_rng(seed).lognormal(np.log(10_000), 0.5, len(due))
    stall = at * 9 * SECOND
    after = due - stall
    # A stall of 1 s at `at`: whoever is due in it waits for its end.
    values += np.where((after >= 0) & (after < SECOND), (SECOND - after) / 1000, 0)
    found = trend(due, values.astype(np.int64))
    assert found is not None
    assert not found.growing


def test_too_few_images_show_no_trend() -> None:
    assert trend(shape(99, 1), np.arange(99) * 1000) is None


def test_images_all_due_at_once_show_no_slope() -> None:
    found = trend(np.zeros(200, np.int64), np.arange(200) * 1000)
    assert found is not None
    assert not found.growing
