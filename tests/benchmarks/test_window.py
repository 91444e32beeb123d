"""Waiting for an answer ends when it cannot come any more."""

import os
import signal
from pathlib import Path

import pytest

from benchmarks.rig import Rig, ServerDiedError
from benchmarks.subjects import Program
from benchmarks.window import running, wait_until
from stack.errors import StackError
from stack.process import Child


def sleeper(name: str, directory: Path) -> Program:
    return Program(name, ["sleep", "600"], directory / name)


def end(program: Program) -> None:
    os.kill(program.pid, signal.SIGKILL)
    child = program._child
    assert isinstance(child, Child)
    assert child.wait(30)


@pytest.mark.slow
def test_a_dead_server_ends_the_section_and_a_dead_subject_one_measurement(
    tmp_path: Path,
) -> None:
    rig = Rig("cpu")
    with (
        sleeper("kafka", tmp_path) as broker,
        sleeper("triton", tmp_path) as triton,
        sleeper("bridge", tmp_path) as bridge,
    ):
        rig.kafka, rig.triton = broker, triton  # type: ignore[assignment]  # in their place
        end(bridge)
        with pytest.raises(StackError, match="bridge died: it was killed by SIGKILL"):
            wait_until(rig, lambda: False, [bridge], "an answer")
        with running(rig, []):
            end(triton)
        with pytest.raises(ServerDiedError, match="triton died: it was killed by SIGKILL"):
            wait_until(rig, lambda: False, [bridge], "an answer")
        with (
            pytest.raises(ServerDiedError, match="triton died"),
            running(rig, []),
        ):
            pass
