"""The capacity model sizes each part by its own cost, with room left."""

from dataclasses import replace

import pytest

from benchmarks.capacity import HEADROOM, Costs, plan

COSTS = Costs(bridge_rate=1_000 / HEADROOM, gpu_rate=10_000 / HEADROOM)


def test_bridges_and_gpus_follow_the_rate() -> None:
    found = plan(25_000, COSTS)
    assert (found.bridges, found.gpus) == (25, 3)


def test_bridges_can_be_doubled_without_touching_the_topic() -> None:
    found = plan(25_000, COSTS)
    assert found.partitions >= 2 * found.bridges


def test_large_images_ask_for_brokers_and_partitions_not_for_bridges() -> None:
    small, large = plan(25_000, COSTS), plan(25_000, replace(COSTS, image_bytes=200_000))
    assert large.bridges == small.bridges
    assert large.brokers > small.brokers
    assert large.partitions > small.partitions


def test_the_smallest_stream_still_has_all_its_replicas() -> None:
    assert plan(1, COSTS).brokers == COSTS.replication


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        plan(0, COSTS)
