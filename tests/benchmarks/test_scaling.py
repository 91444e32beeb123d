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
    PHOTOS,
    RESULTS,
    SMALL,
    UnmeasuredError,
    page,
    renewed,
    workloads,
)

pytestmark = pytest.mark.slow

MACHINE = {"cpu": "a CPU", "cores": 2, "memory_gib": 4, "device": "CPU", "load_average": 0.1}


def window(rate: float, watts: float = 300.0, triton: float = 5.0) -> dict[str, Any]:
    return {
        "rate": rate, "cpu_us": {"subject": 40.0, "kafka": 20.0, "triton": triton},
        "gpu": {"utilisation": 50.0, "watts": watts, "memory_mib": 2000},
    }  # fmt: skip


ABOUT = {"machine": MACHINE, "quick": False, "repeats": 1, "date": "2026-01-31", "failures": {}}
FOUND: dict[str, Any] = {
    SMALL: {
        **ABOUT, "measurements": {"bridge": [window(8000.0)], "ceiling": [window(90_000.0, 400.0)]},
    },
    PHOTOS: {
        **ABOUT,
        "measurements": {
            PHOTO: [window(600.0, triton=1500.0)], "ceiling": [window(7000.0, 500.0)],
        },
    },
}  # fmt: skip
BRIDGES = {
    **ABOUT, "counts": [1, 2], "share": 0.25,
    "measurements": {"raw, 1": [window(2000.0)], "raw, 2": [window(3520.0)]},
}  # fmt: skip


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.scaling", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_page_is_that_of_the_results() -> None:
    text = PAGE.read_text()
    assert renewed(text, read(RESULTS, MEASURED)) == text, (
        "docs/scaling.md is out of date: run python -m benchmarks.scaling"
    )


def test_several_bridges_are_held_against_the_model() -> None:
    found = page({**FOUND, "bridges": BRIDGES})
    assert "| 2 | 4,000 | 3,520 | 0.88 |" in found


def test_measured_costs_are_the_plans() -> None:
    small, photo = (kind.costs for kind in workloads(FOUND))
    assert (small.bridge_rate, small.bridge_core_us, small.broker_core_us) == (8000.0, 40.0, 20.0)
    assert (small.gpu_rate, small.gpu_watts, small.triton_core_us) == (90_000.0, 400.0, 5.0)
    assert 3072 < small.image_bytes < 4000
    assert (photo.gpu_rate, photo.gpu_watts, photo.triton_core_us) == (7000.0, 500.0, 1500.0)
    assert photo.bridge_rate == 1e6 / 40


def test_a_million_images_are_told_in_joules_and_money() -> None:
    found = page({**FOUND, "bridges": BRIDGES})
    # 300 W at 8,000 images/s; 125 s at 4.54 an hour.
    assert "| ResNet-20, raw 32x32: bridge | 8,000 | 50 | 300 | 37,500 | 0.158 |" in found


def test_nothing_measured_is_nothing_planned(tmp_path: Path) -> None:
    with pytest.raises(UnmeasuredError, match="make bench"):
        workloads({})
    with pytest.raises(UnmeasuredError, match=r"photos\.json"):
        workloads({SMALL: FOUND[SMALL]})
    on_a_cpu = {"bridge": [{**window(8000.0), "gpu": None}], "ceiling": [{"rate": 1.0}]}
    with pytest.raises(UnmeasuredError, match="DEVICE=cuda"):
        workloads({**FOUND, SMALL: {**ABOUT, "measurements": on_a_cpu}})
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
