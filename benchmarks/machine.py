"""Describes the machine of the measurements."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from stack.paths import ROOT

CPU = "CPU"
"""The device of a machine without a GPU."""


def describe(device: str) -> dict[str, object]:
    """This machine's CPU, cores, memory and device, and the versions that matter."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "device": _nvidia("name") if device == "cuda" else CPU,
        **({"driver": _nvidia("driver_version")} if device == "cuda" else {}),
        # Sources without their repository may come with the name of their commit.
        "commit": _run("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
        or os.environ.get("COMMIT", "unknown"),
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


def _nvidia(what: str) -> str:
    """A property of each GPU, by nvidia-smi's name for it."""
    found = _run("nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader")
    return ", ".join(found.splitlines()) or "no GPU found"


def _run(*command: str) -> str:
    """The output of a command; empty where it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
