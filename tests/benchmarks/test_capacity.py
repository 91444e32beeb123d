"""The capacity model sizes each part by its own cost, with room left."""

from dataclasses import replace

import pytest

from benchmarks.capacity import HEADROOM, Costs, plan

COSTS = Costs(
    image_bytes=3_300,
    prediction_bytes=600,
    bridge_rate=1_000 / HEADROOM,
    bridge_core_us=60,
    broker_core_us=10,
    gpu_rate=10_000 / HEADROOM,
)


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


def test_a_brokers_share_is_bound_by_its_disk_or_by_its_cores() -> None:
    written = (COSTS.image_bytes + COSTS.prediction_bytes) * COSTS.replication
    assert COSTS.broker_rate == COSTS.broker_bytes / written
    busy = replace(COSTS, broker_core_us=10_000)
    assert busy.broker_rate == 1e6 * busy.broker_cores / (10_000 * busy.replication)


def test_decoding_takes_cores_and_watts_but_no_bridges() -> None:
    plain, decoded = plan(25_000, COSTS), plan(25_000, replace(COSTS, triton_core_us=1_500))
    assert decoded.bridges == plain.bridges
    assert decoded.cores > plain.cores
    assert decoded.watt_hours_per_million > plain.watt_hours_per_million
