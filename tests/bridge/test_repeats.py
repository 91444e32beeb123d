"""A complaint that goes on does not fill the log; a new one is said at once."""

from bridge.repeats import MOST, QUIET_S, REPEAT_S, Repeats


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_goes_on_is_said_at_its_start_and_once_a_minute() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    said = []
    for second in range(0, 121, 2):
        clock.now = float(second)
        said.append((second, repeats.unsaid("away")))
    assert [one for one in said if one[1] is not None] == [(0, 0), (60, 29), (120, 29)]


def test_another_one_and_one_that_comes_back_are_said_at_once() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    assert repeats.unsaid("away") == repeats.unsaid("slow") == 0
    clock.now = QUIET_S - 1
    assert repeats.unsaid("away") is None
    clock.now = QUIET_S + 1
    assert repeats.unsaid("slow") == 0, "quiet since it began"
    assert repeats.unsaid("away") is None
    clock.now += QUIET_S
    assert repeats.unsaid("away") == 0
    assert QUIET_S < REPEAT_S


def test_memory_is_bounded() -> None:
    repeats = Repeats(Clock())
    for number in range(3 * MOST):
        assert repeats.unsaid(number) == 0
    assert len(repeats._known) <= MOST
