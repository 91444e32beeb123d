"""Filters that read what Linux and nvidia-smi say about NVIDIA GPUs. Pure: text in, values out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

from ansible.errors import AnsibleFilterError

NVIDIA_VENDOR = 0x10DE
# PCI class 0x03xxxx is a display controller: 0x0302 on data-centre boards, 0x0300 on workstations.
DISPLAY_CLASS = 0x03

# Compute capability by PCI device id, first match. Needed before a driver runs, and only as finely
# as decisions depend on it (6.x, 7.0, 7.5 and later); nvidia-smi's own answer replaces it later.
_CAPABILITY_BY_DEVICE_ID = (
    (0x0000, 0x15EF, 5.0),  # Kepler, Maxwell
    (0x15F0, 0x15FF, 6.0),  # GP100
    (0x1600, 0x1AFF, 5.2),  # Maxwell
    (0x1B00, 0x1D80, 6.1),  # GP10x
    (0x1D81, 0x1DFF, 7.0),  # GV100
    (0x20B0, 0x20FF, 8.0),  # GA100
    (0x1E00, 0x21FF, 7.5),  # Turing
    (0x2200, 0x22FF, 8.6),  # GA10x
    (0x2300, 0x23FF, 9.0),  # GH100
    (0x2400, 0x25FF, 8.6),  # GA10x
    (0x2600, 0x28FF, 8.9),  # AD10x
    (0x2900, 0xFFFF, 10.0),  # Blackwell and later
)


class PciGpu(TypedDict):
    address: str
    device_id: str
    compute_capability: float


class SmiGpu(TypedDict):
    index: int
    uuid: str
    name: str
    compute_capability: float
    driver_version: str


def capability_of_device(device_id: int) -> float:
    """The compute capability of an NVIDIA PCI device id, as finely as decisions need it."""
    return next(cc for first, last, cc in _CAPABILITY_BY_DEVICE_ID if first <= device_id <= last)


def pci_gpus(lines: Iterable[str]) -> list[PciGpu]:
    """GPUs from lines like ``…/0000:01:00.0/vendor:0x10de`` (sysfs vendor, device and class files).

    Devices that are not NVIDIA display controllers (audio functions, NVSwitches) are left out.
    """
    devices: dict[str, dict[str, int]] = {}
    for line in lines:
        found = re.fullmatch(r".*/([^/]+)/(vendor|device|class):(0x[0-9a-fA-F]+)", line.strip())
        if found:
            devices.setdefault(found[1], {})[found[2]] = int(found[3], 16)
    return [
        PciGpu(
            address=address,
            device_id=f"{device['device']:#06x}",
            compute_capability=capability_of_device(device["device"]),
        )
        for address, device in sorted(devices.items())
        if device.get("vendor") == NVIDIA_VENDOR
        and device.get("class", 0) >> 16 == DISPLAY_CLASS
        and "device" in device
    ]


def smi_gpus(lines: Iterable[str]) -> list[SmiGpu]:
    """GPUs from ``nvidia-smi --query-gpu=index,uuid,name,compute_cap,driver_version
    --format=csv,noheader``."""
    gpus = []
    for line in lines:
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split(",")]
        try:
            index, uuid, name, capability, driver = fields
            gpus.append(
                SmiGpu(
                    index=int(index),
                    uuid=uuid,
                    name=name,
                    compute_capability=float(capability),
                    driver_version=driver,
                )
            )
        except ValueError as error:
            raise AnsibleFilterError(
                f"nvidia-smi answered {line!r}, which is not 'index, uuid, name, compute "
                "capability, driver version': is the driver complete?"
            ) from error
    return gpus


def triton_tag_for(capability: float, releases: Iterable[Mapping[str, Any]]) -> str:
    """The newest tag among ``releases`` (``tag``, ``minimum_capability``) that runs on the GPU.

    Returns an empty string where the GPU is too old for all of them.
    """
    fitting = [str(r["tag"]) for r in releases if capability >= float(r["minimum_capability"])]
    return max(fitting, default="")


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pci_gpus": pci_gpus, "smi_gpus": smi_gpus, "triton_tag_for": triton_tag_for}
