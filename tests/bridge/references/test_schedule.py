"""Which object is fetched next, and what a failure means, without a store or a clock."""

from bridge.references.schedule import FIRST_GUESS, GIVE_UP_S, Schedule, Task

PLENTY = 1 << 40


def schedule(**more: int) -> Schedule[str]:
    return Schedule(
        retry_min_s=1,
        retry_max_s=8,
        rng=lambda: 1.0,
        **{"max_failures": 3, "max_object": 1 << 20, **more},
    )


def task(name: str, store: str = "s3://photos", size: int | None = None) -> Task[str]:
    return Task(name, store, size)


def started(one: Schedule[str], now: float = 0, room: int = PLENTY) -> list[Task[str]]:
    found = []
    while (next_one := one.next(now, room)) is not None:
        found.append(next_one)
    return found


def names(tasks: list[Task[str]]) -> list[str]:
    return [one.item for one in tasks]


def test_objects_are_fetched_in_their_order_and_many_at_a_time() -> None:
    one = schedule(max_fetches=2)
    for name in "abc":
        one.add(task(name))
    first = started(one)
    assert names(first) == ["a", "b"]
    one.answered(first[0])
    assert names(started(one)) == ["c"]


def test_no_more_bytes_are_asked_for_than_there_is_room_for() -> None:
    one = schedule()
    for name in "abc":
        one.add(task(name, size=100))
    assert started(one, room=99) == []
    assert one.wants_room
    assert names([one.next(0, 100) or task("")]) == ["a"]


def test_an_object_larger_than_was_thought_waits_for_room() -> None:
    one = schedule()
    one.add(task("a"))
    one.add(task("b"))
    a, b = started(one)
    assert (a.held, b.held) == (FIRST_GUESS, FIRST_GUESS)
    assert one.grown(a, 2 * FIRST_GUESS, room=FIRST_GUESS)
    assert not one.grown(b, 3 * FIRST_GUESS, room=FIRST_GUESS)
    assert started(one, room=FIRST_GUESS) == []
    assert names(started(one, room=3 * FIRST_GUESS)) == ["b"]
    assert one.grown(b, 3 * FIRST_GUESS, room=0)


def test_no_object_is_thought_larger_than_it_may_be() -> None:
    one = schedule(max_object=10)
    one.add(task("a"))
    assert names(started(one, room=10)) == ["a"]


def test_a_store_that_fails_is_asked_for_one_object_at_a_time_after_a_wait() -> None:
    one = schedule()
    for name in "abc":
        one.add(task(name))
    for failing in reversed(started(one)):
        assert one.failed(failing, 0, "refused", busy=False)
    assert one.problem == "refused"
    assert started(one, 0.9) == []
    assert one.wakes_at() == 1.0
    (probe,) = started(one, 1.0)
    assert probe.item == "a"
    assert one.failed(probe, 1.0, "refused", busy=False)
    assert one.wakes_at() == 3.0
    (probe,) = started(one, 3.0)
    one.answered(probe)
    assert not one.problem
    after = started(one, 3.0)
    assert names(after) == ["b", "c"]


def test_a_store_that_is_away_costs_no_object_however_long() -> None:
    one = schedule()
    one.add(task("a"))
    now = 0.0
    for _ in range(200):
        now += 10
        (only,) = started(one, now)
        assert one.failed(only, now, "away", busy=False)
    assert only.failures == 0


def test_one_store_that_is_away_does_not_hold_up_another() -> None:
    one = schedule()
    one.add(task("a"))
    (a,) = started(one)
    assert one.failed(a, 0, "away", busy=False)
    one.add(task("b", "s3://other"))
    assert names(started(one)) == ["b"]
    assert one.problem == "away"


def test_an_object_that_fails_while_others_are_fetched_is_given_up() -> None:
    one = schedule()
    one.add(task("poison"))
    now, given_up = 0.0, None
    for number in range(100):
        now += 10
        one.add(task(f"good {number}"))
        for running in sorted(started(one, now), key=lambda each: each.item == "poison"):
            if running.item != "poison":
                one.answered(running)
            elif not one.failed(running, now, "500", busy=False):
                given_up = now
        if given_up is not None:
            break
    assert given_up is not None
    assert given_up >= GIVE_UP_S
    assert one.waiting == one.in_flight == 0 or names(started(one, now + 100)) != ["poison"]
    assert one.problem is None


def test_objects_are_not_blamed_for_a_store_that_has_too_much_to_do() -> None:
    one = schedule()
    one.add(task("a"))
    now = 0.0
    for _ in range(50):
        now += 10
        one.add(task("other"))
        for running in sorted(started(one, now), key=lambda each: each.item == "a"):
            if running.item == "a":
                assert one.failed(running, now, "SlowDown", busy=True)
                assert running.failures == 0
            else:
                one.answered(running)


def test_what_nobody_needs_any_more_is_taken_out() -> None:
    one = schedule()
    for name in "abc":
        one.add(task(name))
    assert one.discard(lambda name: name != "b") == ["a", "c"]
    assert names(started(one)) == ["b"]
