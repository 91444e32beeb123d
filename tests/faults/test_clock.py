"""The clock of the bridge's machine is set back while images flow."""

from pathlib import Path

import pytest

from tests.faults.conftest import Judge, StartTrial

# The clock that the bridge's own code reads, in its process alone: the machine's is not a test's to
# set. gRPC's client asks `time.time` for a deadline that its core compares with the true clock.
SHIM = """\
import os, time
real_ns, switch = time.time_ns, os.environ["CLOCK_SWITCH"]
def time_ns():
    return real_ns() - (3_600_000_000_000 if os.path.exists(switch) else 0)
time.time_ns = time_ns
"""


@pytest.mark.soak
def test_clock_set_back_by_an_hour(
    start_trial: StartTrial, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim, switch = tmp_path / "shim", tmp_path / "switch"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(SHIM)
    monkeypatch.setenv("PYTHONPATH", str(shim))
    monkeypatch.setenv("CLOCK_SWITCH", str(switch))
    trial = start_trial()
    bridge = trial.bridge()
    trial.flowing(bridge)
    switch.touch()
    trial.flowing(bridge, 500)
    switch.unlink()
    trial.flowing(bridge)
    judge(trial.settle())
