from hypothesis import given
from hypothesis import strategies as st

from producer.pacing import SECOND, Schedule, Timer, paced

RATES = st.floats(min_value=0.01, max_value=100_000, allow_nan=False)


class FakeClock:
    """Time that passes only by waiting and by what a send costs."""

    def __init__(self) -> None:
        self.now = 0

    def elapsed(self) -> int:
        return self.now

    def wait(self, due: int) -> bool:
        self.now = max(self.now, due)
        return True


@given(rate=RATES, costs=st.lists(st.integers(0, 5 * SECOND), min_size=1, max_size=50))
def test_intended_times_are_start_plus_i_over_rate_whatever_the_sends_cost(
    rate: float, costs: list[int]
) -> None:
    clock = FakeClock()
    for index, due in paced(Schedule(rate, count=len(costs)), clock.elapsed, clock.wait):
        assert abs(due - index * SECOND / rate) <= 1
        assert clock.now >= due
        clock.now += costs[index]


@given(rate=RATES, stall=st.integers(0, 10 * SECOND))
def test_a_late_run_sends_at_once_until_it_has_caught_up(rate: float, stall: int) -> None:
    clock = FakeClock()
    late_from = clock.now = stall
    for _, due in paced(Schedule(rate, count=30), clock.elapsed, clock.wait):
        # No time passes but by waiting: an overdue image must not have waited.
        assert clock.now == max(late_from, due)


@given(rate=RATES, index=st.integers(0, 10**7))
def test_errors_do_not_add_up_over_a_long_run(rate: float, index: int) -> None:
    schedule = Schedule(rate)
    exact = index * SECOND / rate
    assert abs(schedule.due_ns(index) - exact) <= max(1, exact * 1e-15)


@given(rate=st.integers(1, 1000), seconds=st.integers(1, 5))
def test_a_duration_sends_what_is_due_within_it(rate: int, seconds: int) -> None:
    clock = FakeClock()
    schedule = Schedule(rate, duration_ns=seconds * SECOND)
    assert len(list(paced(schedule, clock.elapsed, clock.wait))) == rate * seconds


def test_rate_zero_intends_each_image_for_the_moment_it_is_sent() -> None:
    clock = FakeClock()
    seen = []
    for _, due in paced(Schedule(0, count=4), clock.elapsed, clock.wait):
        seen.append(due)
        clock.now += 7
    assert seen == [0, 7, 14, 21]


def test_a_stop_ends_the_schedule() -> None:
    clock = FakeClock()
    sent = list(paced(Schedule(10), clock.elapsed, lambda due: due < SECOND))
    assert len(sent) == 10


def test_the_timer_never_returns_before_an_image_is_due() -> None:
    timer = Timer()
    for due in (3_000_000, 6_000_000, 6_500_000, 6_500_000):
        assert timer.wait(due, lambda _seconds: None, lambda: False)
        assert timer.elapsed() >= due


def test_the_timer_stops_waiting_when_asked() -> None:
    polls: list[float] = []
    timer = Timer()
    assert not timer.wait(3600 * SECOND, polls.append, lambda: len(polls) > 3)
    assert max(polls) <= 0.1


def test_any_rate_and_any_duration_make_a_schedule() -> None:
    clock = FakeClock()
    slow = Schedule(1e-300, count=2, duration_ns=1e308 * SECOND)
    assert list(paced(slow, clock.elapsed, lambda due: due < 100 * SECOND)) == [(0, 0)]
    fast = Schedule(float("inf"), count=2, duration_ns=float("inf"))
    assert list(paced(fast, clock.elapsed, clock.wait)) == [(0, 0), (1, 0)]
