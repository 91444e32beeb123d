"""The filters that read GPUs and name releases."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.ansible.lab.playbook import ROOT


def load(name: str) -> ModuleType:
    """A filter plugin, as Ansible loads it: by path."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"ansible/filter_plugins/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


brokers, gpus, release = load("brokers"), load("gpus"), load("release")

SYSFS = """\
/sys/bus/pci/devices/0000:01:00.0/class:0x030200
/sys/bus/pci/devices/0000:01:00.0/device:0x15f8
/sys/bus/pci/devices/0000:01:00.0/vendor:0x10de
/sys/bus/pci/devices/0000:01:00.1/class:0x040300
/sys/bus/pci/devices/0000:01:00.1/device:0x10ef
/sys/bus/pci/devices/0000:01:00.1/vendor:0x10de
/sys/bus/pci/devices/0000:02:00.0/class:0x030000
/sys/bus/pci/devices/0000:02:00.0/device:0x1234
/sys/bus/pci/devices/0000:02:00.0/vendor:0x1a03
grep: something else
"""


def test_only_nvidia_display_controllers_are_gpus() -> None:
    assert gpus.pci_gpus(SYSFS.splitlines()) == [
        {"address": "0000:01:00.0", "device_id": "0x15f8", "compute_capability": 6.0}
    ]


@pytest.mark.parametrize(
    ("device_id", "capability"),
    [
        (0x102D, 5.0),
        (0x15F8, 6.0),
        (0x17FD, 5.2),
        (0x1B38, 6.1),
        (0x1DB4, 7.0),
        (0x1EB8, 7.5),
        (0x20B2, 8.0),
        (0x2236, 8.6),
        (0x2330, 9.0),
        (0x26B9, 8.9),
        (0x2901, 10.0),
    ],
    ids=["K80", "P100", "M40", "P40", "V100", "T4", "A100", "A10", "H100", "L40S", "B200"],
)
def test_a_board_has_the_capability_that_nvidia_lists(device_id: int, capability: float) -> None:
    assert gpus.capability_of_device(device_id) == capability


def test_every_device_id_has_a_capability() -> None:
    assert all(gpus.capability_of_device(device_id) >= 5 for device_id in range(0x10000))


def test_nvidia_smi_rows_become_gpus() -> None:
    assert gpus.smi_gpus(["0, GPU-abc, NVIDIA H100 80GB HBM3, 9.0, 580.95.05", ""]) == [
        {
            "index": 0,
            "uuid": "GPU-abc",
            "name": "NVIDIA H100 80GB HBM3",
            "compute_capability": 9.0,
            "driver_version": "580.95.05",
        }
    ]


def test_what_nvidia_smi_cannot_have_meant_is_an_error_that_shows_it() -> None:
    with pytest.raises(Exception, match="No devices were found"):
        gpus.smi_gpus(["No devices were found"])


@pytest.mark.parametrize(
    ("capability", "tag"),
    [(9.0, "26.11"), (7.5, "26.11"), (7.0, "24.07"), (6.0, "24.07"), (5.2, "")],
)
def test_the_newest_triton_that_runs_on_the_gpu_is_chosen(capability: float, tag: str) -> None:
    known = [
        {"tag": "24.07", "minimum_capability": 6.0},
        {"tag": "26.11", "minimum_capability": 7.5},
    ]
    assert gpus.triton_tag_for(capability, known) == tag


def test_a_release_lists_files_with_their_hash_and_leaves_caches_out(tmp_path: Path) -> None:
    (tmp_path / "bridge/__pycache__").mkdir(parents=True)
    (tmp_path / "bridge/__pycache__/x.pyc").write_text("")
    (tmp_path / "bridge/run.py").write_text("")
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    files = release.release_files(str(tmp_path), ["bridge", "Dockerfile"])
    assert [f["path"] for f in files] == ["Dockerfile", "bridge/run.py"]
    before = release.release_name(files)
    (tmp_path / "Dockerfile").write_text("FROM other")
    assert (
        release.release_name(release.release_files(str(tmp_path), ["bridge", "Dockerfile"]))
        != before
    )


def test_a_missing_file_stops_the_release(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="Dockerfile does not exist"):
        release.release_files(str(tmp_path), ["Dockerfile"])


def test_brokers_are_named_by_the_address_that_other_machines_reach() -> None:
    hostvars = {
        "a": {"kafka_address": "10.0.0.1", "ansible_host": "192.0.2.1"},
        "b": {"ansible_host": "192.0.2.2"},
        "c": {},
    }
    assert brokers.broker_addresses(["a", "b", "c"], hostvars) == (
        "10.0.0.1:9092,192.0.2.2:9092,c:9092"
    )
    assert brokers.broker_addresses([], hostvars) == ""
