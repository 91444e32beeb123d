"""What Kubernetes does to bridges, done to processes: they are pods of the chart's StatefulSet."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from stack.bridge import Bridge
from stack.paths import ROOT
from stack.ports import HOST
from stack.triton import Triton
from tests.conftest import PARTITIONS
from tests.faults.conftest import Judge, StartTrial
from tests.faults.proxy import Proxy
from tests.faults.trial import Trial, consumer_settings
from tests.waiting import eventually

VALUES = yaml.safe_load((ROOT / "deploy/helm/triton-kafka/values.yaml").read_text())["bridge"]
GRACE_S = VALUES["terminationGracePeriodSeconds"]
PODS = ("cats-bridge-0", "cats-bridge-1")
RATE = 100
"""Images/s: little, so that a drain ends by itself on a busy machine."""
REBALANCES = "bridge_rebalances_total"


class StatefulSet:
    """Starts and ends pods as its controller and the kubelet do, each under its ordinal's name."""

    def __init__(self, trial: Trial, triton: str, folder: Path) -> None:
        self._trial = trial
        self._triton = triton
        # In the file, as the chart's ConfigMap has it; what is a pod's own, in its environment.
        self._file = folder / "bridge.toml"
        drain = VALUES["settings"]["drain_timeout_s"]
        self._file.write_text(f"drain_timeout_s = {drain}\n")

    def create(self, name: str) -> Bridge:
        identity = f"vision.{name}"
        # Longer than any restart here: what brings its partitions back is its name alone.
        member: dict[str, str | int] = {
            "group.instance.id": identity,
            "session.timeout.ms": 180_000,
        }
        own = {
            "transactional_id": identity,
            "triton": self._triton,
            "config": str(self._file),
            "request_timeout_s": "30",
        }
        return self._trial.launch(name, **own, **consumer_settings(member))

    def delete(self, name: str) -> int:
        """SIGTERM, and its exit status; it has to end within its grace period."""
        bridge = self._trial.bridges[name]
        os.kill(bridge.pid, signal.SIGTERM)
        return bridge.wait_exit(GRACE_S)


def partitions(bridge: Bridge) -> float:
    return bridge.metrics()["bridge_partitions_assigned"]


def rebalances(bridge: Bridge) -> float:
    return sum(value for name, value in bridge.metrics().items() if name.startswith(REBALANCES))


@pytest.mark.soak
def test_bridges_as_pods(
    start_trial: StartTrial, judge: Judge, triton: Triton, tmp_path: Path
) -> None:
    """Their start before Triton's, a rolling update, and a kill after the grace period."""
    trial = start_trial(rate=RATE)
    with Proxy(int(triton.grpc.rpartition(":")[2])) as proxy:
        pods = StatefulSet(trial, f"{HOST}:{proxy.port}", tmp_path)
        proxy.cut()
        first, second = (pods.create(name) for name in PODS)
        for bridge in (first, second):
            says_what_it_lacks(bridge)
            # A restart would not bring Triton, so it stays live; and nobody counts on it.
            assert (health(bridge, "live"), health(bridge, "ready")) == (200, 503)
        proxy.restore()
        for bridge in (first, second):
            bridge.wait_ready()
        eventually(lambda: partitions(first) == partitions(second) == PARTITIONS / 2, "two halves")
        trial.flowing(first, 50)
        trial.flowing(second, 50)

        for name in reversed(PODS):  # as a rolling update does
            with undisturbed(trial, name):
                assert pods.delete(name) == 0
                replaced(trial, pods.create(name))

        with undisturbed(trial, PODS[1]):
            second.pause()  # it hangs, and its node is told to end it
            os.kill(second.pid, signal.SIGTERM)
            second.kill()  # after the grace period, which would change nothing
            replaced(trial, pods.create(PODS[1]))
        judge(trial.settle(images=1000))


def says_what_it_lacks(bridge: Bridge) -> None:
    eventually(lambda: health(bridge, "live") == 200, "a live bridge")
    eventually(lambda: "triton" in bridge.reasons(), "a bridge that lacks Triton")


def replaced(trial: Trial, bridge: Bridge) -> None:
    """Return when it answers."""
    bridge.wait_ready()
    trial.flowing(bridge, 50)


@contextmanager
def undisturbed(trial: Trial, name: str) -> Iterator[None]:
    """What is done to this one gives it its partitions back, and moves none of the other's."""
    (other,) = (bridge for pod, bridge in trial.bridges.items() if pod != name)
    before, had = rebalances(other), partitions(trial.bridges[name])
    yield
    assert partitions(trial.bridges[name]) == had
    assert rebalances(other) == before


def health(bridge: Bridge, what: str) -> int:
    try:
        return bridge.health(what)
    except OSError:
        return 0
