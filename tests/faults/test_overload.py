"""More images than the model can answer: they wait in Kafka, not in the bridge's memory."""

import time

import pytest

from tests.faults.conftest import Judge, StartTrial
from tests.faults.trial import answered
from tests.memory import resident_kib
from tests.waiting import eventually

BACKLOG = 60_000
"""Images sent as fast as Kafka takes them; the model answers them over a minute or more."""
GROWTH = 1.2
PLATEAU_ANSWERS = 3_000
"""Answered before the plateau is read: buffers have been filled and code paths taken by then."""


@pytest.mark.soak
def test_overload_with_memory_flat(start_trial: StartTrial, judge: Judge) -> None:
    trial = start_trial(rate=10 * BACKLOG)
    bridge = trial.bridge()
    eventually(lambda: len(trial.load.ids) >= BACKLOG, "the backlog being sent")
    trial.load.finish(0)
    eventually(lambda: answered(bridge) >= PLATEAU_ANSWERS, "the plateau", 300)
    plateau = peak = resident_kib(bridge.pid)
    while answered(bridge) < len(trial.load.ids):
        peak = max(peak, resident_kib(bridge.pid))
        time.sleep(0.2)
    assert peak <= GROWTH * plateau, f"{plateau:,} KiB became {peak:,} KiB"
    judge(trial.settle())
