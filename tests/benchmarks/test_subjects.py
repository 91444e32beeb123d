"""What is measured is started as it is meant to be."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import subjects
from benchmarks.subjects import Program, triton_load


@pytest.mark.parametrize(("processes", "each"), [(1, "4"), (3, "2"), (4, "1")])
def test_several_processes_load_triton_with_as_many_requests_in_all(
    processes: int, each: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "LOADS", processes)
    rig: Any = SimpleNamespace(triton=SimpleNamespace(grpc="127.0.0.1:1"), directory=tmp_path)
    loads = triton_load(rig, batch=64, in_flight=4)
    assert len({one.name for one in loads}) == processes
    for one in loads:
        assert isinstance(one, Program)
        assert one._argv[list(one._argv).index("--in-flight") + 1] == each


@pytest.mark.parametrize(("instances", "processes", "requests"), [(2, 4, 8), (1, 1, 3)])
def test_a_process_between_two_requests_leaves_no_instance_without_one(
    instances: int, processes: int, requests: int
) -> None:
    assert subjects.in_flight(instances, processes) == requests
    assert requests - processes >= 2 * instances
