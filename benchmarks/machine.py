"""Which machine the figures are from."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

CPU = "CPU"
"""The device where there is no other."""


def describe(device: str) -> dict[str, object]:
    """CPU, cores, memory, device and the versions that matter."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "device": _gpu() if device == "cuda" else CPU,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {
            name: version(name)
            for name in ("confluent-kafka", "tritonclient", "torch", "nvidia-pytriton", "pillow")
        },
        "load_average": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _gpu() -> str:
    try:
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "no GPU found"
    return ", ".join(found.stdout.split("\n")[:-1])
