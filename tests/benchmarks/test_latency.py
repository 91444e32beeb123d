"""The stages of the slowest images, which say where a high p99 comes from."""

import zlib

import pytest

from benchmarks.latency import first_images, stages_of
from benchmarks.programs.probe import stages_of_slowest
from consumer.measuring.statistics import STAGES

NAMES = [name for name, _, _ in STAGES]
MS = 1_000_000


def stamps(kafka_in_ms: int, triton_ms: int) -> dict[str, int]:
    """Of an image that spent this long on its way; 1 ms in each other stage."""
    received = 2 + kafka_in_ms
    times = (1, 2, received, received + 1, received + 2, received + 2 + triton_ms)
    named = dict(
        zip(
            ("intended", "sent", "received", "decoded", "requested", "inferred"), times, strict=True
        )
    )
    return {name: time * MS for name, time in {**named, "consumed": times[-1] + 1}.items()}


@pytest.mark.parametrize("partitions", [4, 16, 64])
def test_the_first_images_reach_each_partition(partitions: int) -> None:
    keys = [f"0-w{index}".encode() for index in range(first_images(partitions))]
    # As Kafka's client chooses it by default.
    assert {zlib.crc32(key) % partitions for key in keys} == set(range(partitions))


def test_the_slowest_hundredth_is_told_stage_by_stage() -> None:
    stamped = [stamps(2, 3)] * 198 + [stamps(40, 3), stamps(2, 50)]
    found = stages_of_slowest(stamped)
    assert len(found) == 2
    assert dict(zip(NAMES, found[0], strict=True)) == {
        "producer_delay": 1.0, "kafka_in": 2.0, "decode": 1.0, "slot_wait": 1.0, "triton": 50.0,
        "kafka_out": 1.0,
    }  # fmt: skip
    assert found[1][NAMES.index("kafka_in")] == 40.0


def test_of_few_images_the_slowest_one_is_told_and_of_none_nothing() -> None:
    assert len(stages_of_slowest([stamps(2, 3), stamps(4, 3)])) == 1
    assert stages_of_slowest([]) == []


def test_several_probes_are_summed_up_by_the_mean_of_each_stage() -> None:
    slowest = [image for probe in (2, 4) for image in stages_of_slowest([stamps(probe, 10)])]
    found = stages_of(slowest)
    assert found is not None
    assert (found["kafka_in"], found["triton"]) == (3.0, 10.0)
    assert stages_of([]) is None
