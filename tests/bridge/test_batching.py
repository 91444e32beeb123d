"""What goes to Triton when."""

import pytest

from bridge.batching import Backoff, Batcher


def batcher(max_batch: int = 4, max_inflight: int = 2) -> Batcher[int]:
    return Batcher(max_batch, max_inflight, retry_min_s=1.0, retry_max_s=8.0, rng=lambda: 1.0)


def fill(one: Batcher[int], *items: int) -> None:
    for item in items:
        one.add(item)


def test_a_lone_image_goes_at_once() -> None:
    one = batcher()
    fill(one, 1)
    assert one.next_batch(0.0) == [1]


def test_images_gather_while_all_slots_are_taken_and_go_together_when_one_frees() -> None:
    one = batcher()
    for item in (1, 2):
        fill(one, item)
        assert one.next_batch(0.0) == [item]
    fill(one, 3, 4, 5)
    assert one.next_batch(0.0) is None
    one.succeeded()
    assert one.next_batch(0.0) == [3, 4, 5]
    assert one.next_batch(0.0) is None


def test_a_batch_is_never_larger_than_the_model_takes() -> None:
    one = batcher(max_batch=4)
    fill(one, *range(6))
    assert [one.next_batch(0.0), one.next_batch(0.0)] == [[0, 1, 2, 3], [4, 5]]


def test_a_transient_failure_keeps_order_and_waits_longer_each_time() -> None:
    one = batcher(max_batch=64)
    fill(one, 1, 2)
    now = 0.0
    for wait in (1.0, 2.0, 4.0, 8.0, 8.0):
        batch = one.next_batch(now)
        assert batch == [1, 2]
        assert one.unavailable(batch, now) == wait
        assert one.next_batch(now + wait - 0.01) is None
        now += wait
    assert one.backing_off
    assert one.next_batch(now) == [1, 2]
    one.succeeded()
    assert not one.backing_off


def test_a_server_too_slow_for_full_batches_is_asked_for_smaller_ones() -> None:
    one = batcher(max_batch=4, max_inflight=1)
    fill(one, *range(12))
    sizes = []
    for fails in (True, True, True, False, False, False):
        batch = one.next_batch(one.not_before)
        assert batch is not None
        sizes.append(len(batch))
        if fails:
            one.unavailable(batch, one.not_before)
        else:
            one.succeeded()
    assert sizes == [4, 2, 1, 1, 2, 4]
    assert one.next_batch(0.0) == [7, 8, 9, 10]


def test_requests_that_fail_together_are_one_outage() -> None:
    one = batcher(max_batch=1)
    fill(one, 1, 2)
    first, second = one.next_batch(0.0), one.next_batch(0.0)
    assert first is not None
    assert second is not None
    assert one.unavailable(first, 0.0) == 1.0
    assert one.unavailable(second, 0.25) == 0.75
    assert one.not_before == 1.0


def test_one_request_at_a_time_probes_a_server_that_failed() -> None:
    one = batcher(max_batch=1)
    fill(one, 1, 2)
    batch = one.next_batch(0.0)
    assert batch is not None
    one.unavailable(batch, 0.0)
    assert one.next_batch(1.0) == [1]
    assert one.next_batch(1.0) is None
    one.succeeded()
    assert one.next_batch(1.0) == [2]


def test_a_refused_batch_is_halved_until_the_culprit_is_alone() -> None:
    one = batcher(max_batch=8, max_inflight=1)
    fill(one, *range(8))
    fill(one, 99)
    answered: list[int] = []
    culprits: list[int] = []
    while (batch := one.next_batch(0.0)) is not None:
        if 5 in batch and len(batch) > 1:
            one.refused(batch)
        else:
            one.succeeded()
            (culprits if 5 in batch else answered).extend(batch)
    assert culprits == [5]
    assert sorted(answered) == [0, 1, 2, 3, 4, 6, 7, 99]
    assert one.idle


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_wait_is_at_least_half_of_what_it_could_be(chance: float) -> None:
    backoff = Backoff(0.1, 5.0, lambda: chance)
    waits = [backoff.next_wait() for _ in range(50)]
    assert waits[0] == pytest.approx(0.05 + 0.05 * chance)
    assert waits[-1] == pytest.approx(2.5 + 2.5 * chance)
