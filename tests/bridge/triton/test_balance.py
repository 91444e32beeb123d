"""The choice of a server, with a clock of the test's own."""

from collections import Counter

import pytest

from bridge.triton.balance import FORGET_S, Balance


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def balance(clock: Clock, **slots: int) -> Balance:
    made = Balance(clock)
    for name, count in slots.items():
        made.join(name)
        made.well(name, count)
    return made


def send(one: Balance) -> str:
    name = one.choose()
    assert name is not None
    one.sent(name)
    return name


def simulate(
    one: Balance, clock: Clock, request_s: dict[str, float], slots: int, seconds: float
) -> Counter[str]:
    """Keep `slots` requests in flight with servers that answer one request after another.

    Returns:
        Requests that each has answered in that time; those still in flight are answered after it.
    """
    answered: Counter[str] = Counter()
    due: dict[str, list[float]] = {name: [] for name in request_s}
    end = clock.now + seconds
    while clock.now < end:
        while sum(map(len, due.values())) < slots:
            name = send(one)
            begin = due[name][-1] if due[name] else clock.now
            due[name].append(begin + request_s[name])
        name = min((n for n in due if due[n]), key=lambda n: due[n][0])
        clock.now = max(clock.now, due[name].pop(0))
        one.ended(name, answered=True)
        answered[name] += 1
    for at, name in sorted((at, server) for server in due for at in due[server]):
        clock.now = max(clock.now, at)
        one.ended(name, answered=True)
    return answered


def test_requests_go_round_among_servers_that_are_alike(clock: Clock) -> None:
    one = balance(clock, a=2, b=2, c=2)
    assert [send(one) for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]
    one.ended("b", answered=True)
    assert send(one) == "b"


def test_a_lone_request_at_a_time_does_not_always_go_to_the_same(clock: Clock) -> None:
    one = balance(clock, a=2, b=2)
    seen: Counter[str] = Counter()
    for _ in range(10):
        name = send(one)
        clock.now += 0.01 if name == "a" else 0.012  # chance
        one.ended(name, answered=True)
        seen[name] += 1
    assert seen == {"a": 5, "b": 5}


def test_the_slots_are_those_of_the_well_servers(clock: Clock) -> None:
    one = balance(clock, a=2, b=4)
    assert one.slots == 6
    one.unwell("a")
    assert one.slots == 4
    assert {send(one) for _ in range(5)} == {"b"}
    one.unwell("b")
    assert (one.slots, one.choose()) == (0, None)


def test_what_was_tried_is_not_chosen_again(clock: Clock) -> None:
    one = balance(clock, a=1, b=1)
    assert one.choose({"a"}) == "b"
    assert one.choose({"a", "b"}) is None


def test_a_server_of_half_the_speed_gets_half_the_requests(clock: Clock) -> None:
    one = balance(clock, a=2, b=2)
    answered = simulate(one, clock, {"a": 0.1, "b": 0.2}, slots=4, seconds=60)
    assert answered["b"] / answered["a"] == pytest.approx(0.5, abs=0.1)


def test_a_server_slow_to_a_tenth_takes_next_to_nothing_from_the_others(clock: Clock) -> None:
    one = balance(clock, a=2, b=2, c=2)
    simulate(one, clock, {"a": 0.1, "b": 0.1, "c": 0.1}, slots=6, seconds=10)
    answered = simulate(one, clock, {"a": 0.1, "b": 0.1, "c": 1.0}, slots=6, seconds=60)
    assert answered["a"] + answered["b"] > 0.95 * 2 * 60 / 0.1


def test_a_server_that_stopped_being_slow_is_found_out(clock: Clock) -> None:
    one = balance(clock, a=2, b=2)
    simulate(one, clock, {"a": 0.1, "b": 1.0}, slots=4, seconds=30)
    simulate(one, clock, {"a": 0.1, "b": 0.1}, slots=4, seconds=2 * FORGET_S)
    answered = simulate(one, clock, {"a": 0.1, "b": 0.1}, slots=4, seconds=20)
    assert answered["b"] / answered["a"] == pytest.approx(1, abs=0.1)


def test_small_batches_do_not_leave_a_server_the_favourite(clock: Clock) -> None:
    one = balance(clock, a=2, b=2)
    for _ in range(20):  # a trickle of lone images
        name = send(one)
        clock.now += 0.004
        one.ended(name, answered=True)
    answered = simulate(one, clock, {"a": 0.1, "b": 0.1}, slots=4, seconds=10)
    assert answered["b"] / answered["a"] == pytest.approx(1, abs=0.1)


def test_an_answer_that_does_not_come_counts_before_it_is_there(clock: Clock) -> None:
    one = balance(clock, a=4, b=4)
    simulate(one, clock, {"a": 0.1, "b": 0.1}, slots=4, seconds=5)
    one.sent("a")
    clock.now += 3
    assert [send(one) for _ in range(8)] == ["b"] * 8


def test_a_failed_request_says_nothing_of_the_speed(clock: Clock) -> None:
    one = balance(clock, a=2, b=2)
    simulate(one, clock, {"a": 0.1, "b": 0.1}, slots=4, seconds=5)
    for _ in range(20):
        one.sent("a")
        one.ended("a", answered=False)  # refused at once, which is not fast
    answered = simulate(one, clock, {"a": 0.1, "b": 0.1}, slots=4, seconds=10)
    assert answered["b"] / answered["a"] == pytest.approx(1, abs=0.2)
