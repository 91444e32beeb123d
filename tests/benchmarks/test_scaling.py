"""docs/scaling.md says what the results and the capacity model say."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import read, save
from benchmarks.scaling import (
    MEASURED,
    PAGE,
    PHOTO,
    RESULTS,
    UnmeasuredError,
    page,
    renewed,
    workloads,
)
from stack.paths import ROOT

pytestmark = pytest.mark.slow

MACHINE = {"cpu": "a CPU", "cores": 2, "memory_gib": 4, "device": "CPU", "load_average": 0.1}


def window(rate: float) -> dict[str, Any]:
    return {"rate": rate, "cpu_us": {"subject": 40.0, "kafka": 20.0, "triton": 5.0}}


OVERHEAD = {
    "machine": MACHINE, "quick": False, "repeats": 1, "date": "2026-01-31", "failures": {},
    "measurements": {"raw": [window(8000.0)]},
}  # fmt: skip
PHOTOS = {
    "measurements": {
        PHOTO: [{"rate": 600.0, "cpu_us": {"subject": 200.0, "kafka": 50.0, "triton": 1500.0}}]
    }
}
FOUND: dict[str, Any] = {"overhead": OVERHEAD, "photos": PHOTOS}

BRIDGES = {
    "counts": [1, 2], "share": 0.25,
    "measurements": {"raw, 1": [window(2000.0)], "raw, 2": [window(3520.0)]},
}  # fmt: skip


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks/scaling.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_page_is_that_of_the_results() -> None:
    text = PAGE.read_text()
    assert renewed(text, read(RESULTS, MEASURED)) == text, (
        "docs/scaling.md is out of date: run benchmarks/scaling.py"
    )


def test_several_bridges_are_held_against_the_model() -> None:
    found = page({**FOUND, "bridges": BRIDGES})
    assert "| 2 | 4,000 | 3,520 | 0.88 |" in found


def test_measured_costs_are_the_plans() -> None:
    small, photo = (kind.costs for kind in workloads(FOUND))
    assert (small.bridge_rate, small.bridge_core_us, small.broker_core_us) == (8000.0, 40.0, 20.0)
    assert 3072 < small.image_bytes < 4000
    assert (photo.decode_core_us, photo.bridge_core_us, photo.broker_core_us) == (1500, 200, 50)
    assert photo.bridge_rate == 5000.0


def test_nothing_measured_is_nothing_planned(tmp_path: Path) -> None:
    with pytest.raises(UnmeasuredError, match="make bench"):
        workloads({})
    with pytest.raises(UnmeasuredError, match=r"photos\.json"):
        workloads({"overhead": OVERHEAD})
    with pytest.raises(UnmeasuredError, match=r"bridges\.json"):
        page(FOUND)
    done = run("1000", "--results", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("scaling: ")


def test_a_stream_is_sized_with_costs_of_ones_own(tmp_path: Path) -> None:
    for name, section in FOUND.items():
        save(tmp_path, name, section)
    done = run("60000", "--results", str(tmp_path), "--set", "gpu_rate=10000")
    shown = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines())
    assert (shown["gpus"], shown["gpu rate"]) == ("10", "10000")


@pytest.mark.parametrize("given", ["gpus=3", "gpu_rate=fast", "gpu_rate=0", "gpu_rate=NaN"])
def test_a_cost_that_is_none_is_a_usage_error(tmp_path: Path, given: str) -> None:
    for name, section in FOUND.items():
        save(tmp_path, name, section)
    done = run("1000", "--results", str(tmp_path), "--set", given)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
