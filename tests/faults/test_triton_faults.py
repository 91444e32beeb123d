"""Triton dies, freezes, or is cut off."""

import pytest

from stack.triton import Triton
from tests.faults.conftest import Judge, StartTrial
from tests.faults.proxy import Proxy
from tests.faults.trial import bad_network

pytestmark = pytest.mark.soak


def test_triton_killed_and_restarted(start_trial: StartTrial, judge: Judge, triton: Triton) -> None:
    trial = start_trial()
    bridge = trial.bridge()
    trial.flowing(bridge)
    triton.kill()
    trial.unready(bridge)
    triton.start()
    trial.flowing(bridge)
    judge(trial.settle())


def test_triton_frozen(start_trial: StartTrial, judge: Judge, triton: Triton) -> None:
    trial = start_trial()
    bridge = trial.bridge(request_timeout_s="2")
    trial.flowing(bridge)
    triton.pause()
    try:
        trial.unready(bridge)
    finally:
        triton.resume()
    trial.flowing(bridge)
    judge(trial.settle())


def test_network_to_triton_cut_slowed_and_dripping(
    start_trial: StartTrial, judge: Judge, triton: Triton
) -> None:
    with Proxy(int(triton.grpc.rpartition(":")[2])) as proxy:
        trial = start_trial(triton=f"127.0.0.1:{proxy.port}")
        bad_network(trial, proxy)
        judge(trial.settle())
