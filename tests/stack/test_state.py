"""A state file leads to the process that wrote it, or to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack import state
from stack.errors import StackError


def test_a_running_stack_is_found_with_its_endpoints(tmp_path: Path) -> None:
    with state.claim(tmp_path):
        state.publish(tmp_path, ready=True, endpoints={"kafka": "127.0.0.1:9092"})
        found = state.find(tmp_path)
        assert found is not None
        assert found.pid == os.getpid()
        assert found.ready
        assert found.endpoints == {"kafka": "127.0.0.1:9092"}
    assert state.find(tmp_path) is None


def test_a_stack_is_run_by_one_process_only(tmp_path: Path) -> None:
    with (
        state.claim(tmp_path),
        pytest.raises(StackError, match=r"runs already"),
        state.claim(tmp_path),
    ):
        pass
    with state.claim(tmp_path):
        pass


def test_what_a_dead_stack_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = tmp_path / "state.json"
    stale.write_text(f'{{"pid": {ended.pid}, "born": 1, "ready": true, "endpoints": {{}}}}')
    assert state.find(tmp_path) is None
    assert not stale.exists()


def test_a_process_that_got_the_pid_later_is_never_killed() -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        born = state.started_at(stranger.pid)
        assert born is not None
        state.terminate(state.State(stranger.pid, born - 1), timeout_s=0)
        assert stranger.poll() is None
        state.terminate(state.State(stranger.pid, born), timeout_s=30)
        assert stranger.wait(30) != 0


def test_a_damaged_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(StackError, match=r"state\.json is not a stack's state"):
        state.find(tmp_path)
