"""A confined bridge is held by the kernel to its share, and leaves no control group behind."""

import os
from pathlib import Path

import pytest

from benchmarks.procfs import tree
from benchmarks.share import PERIOD_US, ROOT, SHARE, SharedBridge, SharedTriton
from stack.errors import StackError

pytestmark = pytest.mark.slow

NAME = f"test-share-{os.getpid()}"
OLDER = (ROOT / "cpu").is_dir()
GROUP = (ROOT / "cpu" if OLDER else ROOT) / NAME


@pytest.fixture
def bridge(tmp_path: Path) -> SharedBridge:
    # Nobody listens there: it waits, and that is enough.
    return SharedBridge({"brokers": "127.0.0.1:1", "triton": "127.0.0.1:1"}, tmp_path, NAME)


@pytest.mark.skipif(not os.access(GROUP.parent, os.W_OK), reason="no control groups to make")
def test_the_kernel_holds_it_to_its_share(bridge: SharedBridge) -> None:
    bridge.launch()
    try:
        assert str(bridge.pid) in (GROUP / "cgroup.procs").read_text().split()
        quota = GROUP / ("cpu.cfs_quota_us" if OLDER else "cpu.max")
        assert int(quota.read_text().split()[0]) == SHARE * PERIOD_US
    finally:
        bridge.kill()
    assert not GROUP.exists()


@pytest.mark.skipif(not os.access(GROUP.parent, os.W_OK), reason="no control groups to make")
def test_a_triton_is_confined_with_the_processes_that_run_its_models(
    model_repository: Path, tmp_path: Path
) -> None:
    triton = SharedTriton(model_repository, tmp_path, NAME)
    with triton:
        triton.confine()
        confined = {int(pid) for pid in (GROUP / "cgroup.procs").read_text().split()}
        assert len(confined) > 1
        assert confined >= tree([triton.pid])
    assert not GROUP.exists()


def test_what_cannot_be_confined_does_not_run(
    bridge: SharedBridge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmarks.share.ROOT", tmp_path / "nothing")
    with pytest.raises(StackError, match="control groups"):
        bridge.launch()
    assert not bridge.running
