"""A run with a budget keeps what it measured."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import machine, report, run
from benchmarks.plan import Plan, Result
from benchmarks.progress import Progress


class NoServers:
    """Sections without servers."""

    def __init__(self, _device: str, *, shared: bool) -> None:
        assert not shared

    def __enter__(self) -> "NoServers":
        return self

    def __exit__(self, *_error: object) -> None: ...

    @contextmanager
    def of(self, _prepare: object) -> Iterator[None]:
        yield None


def test_a_section_that_measured_until_its_deadline_has_time_to_stop_its_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms: list[float] = []
    ends: list[float] = []

    def section(_rig: object, _plan: Plan, progress: Progress) -> Result:
        assert progress.left_s is not None
        ends.append(time.monotonic() + progress.left_s)
        result: Result = {"measurements": {}, "failures": {}}
        progress.keep(result)
        return result

    def alarm(_which: int, seconds: float) -> None:
        alarms.append(time.monotonic() + seconds)

    monkeypatch.setattr(run, "SECTIONS", {"throughput": section})
    monkeypatch.setattr(run, "Servers", NoServers)
    monkeypatch.setattr(run, "STACKS", tmp_path / "stacks")
    monkeypatch.setattr(machine, "describe", lambda _device: {})
    monkeypatch.setattr(report, "write", lambda *_all: "")
    monkeypatch.setattr(signal, "setitimer", alarm)
    monkeypatch.setattr(signal, "signal", lambda *_all: None)
    run.main(["throughput"], False, None, 100.0, run.Device.cpu, tmp_path, None, "", False)
    assert alarms[0] >= ends[0] + run.LAST_S - 0.001
    assert (tmp_path / "raw" / "throughput.json").exists()
    assert not (tmp_path / "raw" / "throughput.partial.json").exists()
