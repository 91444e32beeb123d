"""The report says what was measured beside what is promised, and draws it."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.plan import SEVERAL_BRIDGES

ABOUT: dict[str, Any] = {
    "machine": {
        "cpu": "a CPU", "cores": 2, "memory_gib": 4, "device": "CPU", "load_average": 0.1,
    },
    "quick": False, "repeats": 2, "date": "2026-01-31", "failures": {},
}  # fmt: skip

LATENCY = {**ABOUT, "top_rate": 1000.0, "usual_demo_top_rate": 0.0}


def window(rate: float, cpu_us: float = 30.0) -> dict[str, Any]:
    return {
        "rate": rate, "mean_batch": 20.0, "rss_bytes": [100 << 20, 101 << 20],
        "cpu_us": {"subject": cpu_us, "kafka": 10.0, "triton": 100.0},
    }  # fmt: skip


def throughput(ours: float) -> dict[str, Any]:
    rates = {"bridge": ours, "ceiling with broker load": 1000.0, "usual demo": 200.0}
    return {**ABOUT, "measurements": {n: [window(r), window(r)] for n, r in rates.items()}}


def verdicts(text: str) -> dict[str, str]:
    """The last cell of each goal's line, by its first."""
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    return {row[0]: row[-1] for row in cells if len(row) == 4}


@pytest.mark.parametrize(("ours", "verdict"), [(960.0, "yes"), (900.0, "**no**")])
def test_a_goal_is_judged_by_the_median_ratio(tmp_path: Path, ours: float, verdict: str) -> None:
    found = verdicts(report.write(tmp_path, {"throughput": throughput(ours)}))
    assert found["bridge ÷ ceiling with the same broker load"] == verdict
    assert found["bridge ÷ usual demo"] == "yes"


def test_each_goal_has_its_line_and_says_so_where_it_was_not_measured(tmp_path: Path) -> None:
    text = report.write(tmp_path, {"throughput": throughput(960.0)})
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    goals = {row[0]: row[2] for row in cells if len(row) == 4}
    assert goals["bridge ÷ usual demo"] != "not measured"
    assert goals["bridge's CPU per image, PNG, null model, µs"] == "not measured"
    assert goals["bridge ÷ best peer, at least once (Quix Streams, MLServer)"] == "not measured"
    what = "2 bridges ÷ one, raw, null model, each with its share of a core"
    assert verdicts(text)[what] == ""


@pytest.mark.parametrize(("two", "verdict"), [(3800.0, "yes"), (3400.0, "**no**")])
def test_bridges_are_to_add_up(tmp_path: Path, two: float, verdict: str) -> None:
    section = {
        **ABOUT, "counts": [1, 2], "share": 0.25,
        "measurements": {"raw, 1": [window(2000.0)] * 2, "raw, 2": [window(two)] * 2},
    }  # fmt: skip
    found = verdicts(report.write(tmp_path, {"bridges": section}))
    assert found["2 bridges ÷ one, raw, null model, each with its share of a core"] == verdict
    assert [path.name for path in tmp_path.glob("*.png")] == ["throughput_by_bridges.png"]


def test_the_peer_to_beat_is_the_fastest(tmp_path: Path) -> None:
    section = throughput(960.0)
    section["measurements"] |= {
        "Quix Streams": [window(300.0)] * 2,
        "MLServer": [window(600.0)] * 2,
    }
    found = verdicts(report.write(tmp_path, {"throughput": section}))
    assert found["bridge ÷ best peer, at least once (MLServer)"] == "**no**"


def test_a_peer_that_failed_is_named_with_its_reason(tmp_path: Path) -> None:
    section = {**throughput(960.0), "failures": {"MLServer": "it died\nlong log"}}
    assert "MLServer failed: it died\n" in report.write(tmp_path, {"throughput": section})


def test_latency_is_judged_as_a_difference_to_triton_alone(tmp_path: Path) -> None:
    points = [
        {"repeat": r, "share": 0.1, "subject": s, "rate": 100.0, "sent": 10, "answered": 10,
         "p50": p50, "p99": p99, "mean_batch": 1.0, "wait_p50": 0.1}
        for r in range(2)
        for s, p50, p99 in (("Triton", 4.0, 6.0), ("bridge", 6.5, 30.0))
    ]  # fmt: skip
    found = verdicts(report.write(tmp_path, {"latency": {**LATENCY, "points": points}}))
    assert found["p50 at 10% load, bridge less Triton alone, ms"] == "yes"
    assert found["p99 at 10% load, bridge less Triton alone, ms"] == "**no**"
    assert found["wait for a batch at 10% load, p50, ms"] == "yes"


def test_each_section_has_its_plots(tmp_path: Path) -> None:
    overhead = {
        **ABOUT,
        "measurements": {name: [window(5000.0)] * 2 for name in ("raw", "PNG")},
        "stages": {"raw": {"decode": [1.0, 2.0]}, "PNG": {"decode": [20.0, 30.0]}},
    }
    report.write(tmp_path, {"overhead": overhead})
    assert [path.name for path in tmp_path.glob("*.png")] == ["cpu_per_image.png"]


def photos(device: str, rates: dict[str, float]) -> dict[str, Any]:
    machine = {**ABOUT["machine"], "device": device}
    return {
        **ABOUT, "machine": machine, "settings": {"network": "resnet18"},
        "measurements": {name: [window(rate)] * 2 for name, rate in rates.items()},
    }  # fmt: skip


CEILING = {"ceiling": 1000.0, "bridge": 500.0}
GPU_GOAL = "photos on one GPU: bridge, decoded in Triton ÷ ceiling alone"


@pytest.mark.parametrize(("ours", "verdict"), [(910.0, "yes"), (890.0, "**no**")])
def test_photos_are_judged_on_a_gpu(tmp_path: Path, ours: float, verdict: str) -> None:
    section = photos("a GPU", {**CEILING, "bridge, decoded in Triton": ours})
    assert verdicts(report.write(tmp_path, {"photos": section}))[GPU_GOAL] == verdict


def test_on_a_cpu_they_are_only_shown(tmp_path: Path) -> None:
    section = photos("CPU", {**CEILING, "bridge, decoded in Triton": 800.0})
    found = verdicts(report.write(tmp_path, {"photos": section, "throughput": throughput(960.0)}))
    assert not [what for what in found if "GPU" in what]
    assert found["photos: bridge, decoded in Triton ÷ ceiling alone, resnet18"] == ""


@pytest.mark.parametrize(("several", "verdict"), [(21_000.0, "yes"), (19_000.0, "**no**")])
def test_of_a_gpu_the_best_of_one_bridge_and_several_counts(
    tmp_path: Path, several: float, verdict: str
) -> None:
    section = throughput(15_000.0)
    section["machine"] = {**section["machine"], "device": "a GPU"}
    section["measurements"][SEVERAL_BRIDGES] = [window(several)] * 2
    found = verdicts(report.write(tmp_path, {"throughput": section}))
    assert found["images/s on one GPU, raw"] == verdict
