"""The bridge is killed, frozen, restarted, and given a clock that jumps."""

import random

import pytest

from tests.conftest import PARTITIONS
from tests.faults.conftest import Judge, StartTrial
from tests.faults.trial import answered, consumer_settings
from tests.waiting import eventually

KILLS = 10
SEED = 20


def test_bridge_killed_ten_times(start_trial: StartTrial, judge: Judge) -> None:
    trial = start_trial()
    moments = random.Random(SEED)  # noqa: S311 - moments, not secrets
    # A static member takes its partitions up again at once.
    settings = consumer_settings({"session.timeout.ms": 10000, "group.instance.id": "static-1"})
    for _ in range(KILLS):
        bridge = trial.bridge(**settings)
        trial.flowing(bridge, moments.randrange(1, 300))
        bridge.kill()
    trial.bridge(**settings)
    judge(trial.settle())


def test_bridge_frozen_until_its_partitions_went_to_another_then_woken(
    start_trial: StartTrial, judge: Judge
) -> None:
    trial = start_trial()
    zombie = trial.bridge("zombie")
    trial.flowing(zombie)
    other = trial.bridge("other")
    trial.flowing(other)
    zombie.pause()
    eventually(
        lambda: other.metrics()["bridge_partitions_assigned"] == 4, "the other bridge having all"
    )
    trial.flowing(other)
    zombie.resume()
    eventually(lambda: answered(zombie) >= 0, "the zombie answering again")
    trial.flowing(other)
    judge(trial.settle())


def test_bridges_restarted_one_after_the_other(start_trial: StartTrial, judge: Judge) -> None:
    trial = start_trial()
    names = ("first", "second", "third")
    for name in names:
        trial.bridge(name)
    for name in names:
        trial.bridges[name].stop()
        trial.flowing(trial.bridge(name), 100)
    judge(trial.settle())


def test_bridges_restarted_one_after_the_other_where_the_broker_assigns(
    start_trial: StartTrial, judge: Judge
) -> None:
    """As above, with the group protocol of KIP-848."""
    trial = start_trial()
    settings = {"kafka_consumer": '{"group.protocol": "consumer"}'}
    names = ("first", "second")
    for name in names:
        trial.bridge(name, **settings)
    for name in names:
        trial.bridges[name].stop()
        trial.flowing(trial.bridge(name, **settings), 100)
    judge(trial.settle())


@pytest.mark.parametrize(
    "assignor", ["cooperative-sticky", pytest.param("range", marks=pytest.mark.soak)]
)
def test_rebalance_storm(start_trial: StartTrial, judge: Judge, assignor: str) -> None:
    trial = start_trial()
    settings = consumer_settings({"partition.assignment.strategy": assignor})
    steady = trial.bridge("steady", **settings)
    for number in range(6):
        visitor = trial.bridge(f"visitor-{number % 2}", **settings)
        trial.flowing(steady, 50)
        if number % 3:
            visitor.stop()
        else:
            visitor.kill()
    judge(trial.settle())


@pytest.mark.soak
def test_bridges_scaled_from_1_to_8_to_0_to_4(start_trial: StartTrial, judge: Judge) -> None:
    """As an autoscaler does it. Eight are more than there are partitions: some have none."""
    trial = start_trial()
    first = trial.bridge("bridge-0")
    trial.flowing(first)
    running = [first, *(trial.bridge(f"bridge-{number}") for number in range(1, 8))]

    def shared() -> bool:
        owned = [bridge.metrics()["bridge_partitions_assigned"] for bridge in running]
        return (max(owned), sum(owned)) == (1, PARTITIONS)

    eventually(shared, "no bridge having two partitions")
    before = sum(map(answered, running))
    eventually(lambda: sum(map(answered, running)) >= before + 400, "eight bridges answering")
    for bridge in running:
        bridge.stop()
    running = [trial.bridge(f"bridge-{number}") for number in range(4)]
    eventually(shared, "no bridge having two partitions")
    for bridge in running:
        trial.flowing(bridge, 100)
    judge(trial.settle())
