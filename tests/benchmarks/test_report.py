"""The report says what was measured beside what is promised, and draws it."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.plan import FEW_BRIDGES, SEVERAL_BRIDGES
from benchmarks.rivals.table import compare
from benchmarks.sections import SECTIONS
from stack.paths import ROOT

ABOUT: dict[str, Any] = {
    "machine": {
        "cpu": "a CPU", "cores": 2, "memory_gib": 4, "device": "CPU", "load_average": 0.1,
    },
    "quick": False, "repeats": 2, "date": "2026-01-31", "failures": {},
}  # fmt: skip

LATENCY = {**ABOUT, "top_rate": 1000.0}


def window(rate: float, cpu_us: float = 30.0) -> dict[str, Any]:
    return {
        "rate": rate, "mean_batch": 20.0, "rss_bytes": [100 << 20, 101 << 20],
        "cpu_us": {"subject": cpu_us, "kafka": 10.0, "triton": 100.0},
    }  # fmt: skip


def throughput(ours: float) -> dict[str, Any]:
    rates = {"bridge": ours, "ceiling with broker load": 1000.0, "ceiling": 1100.0}
    return {**ABOUT, "measurements": {n: [window(r), window(r)] for n, r in rates.items()}}


def verdicts(text: str) -> dict[str, str]:
    """The last cell of each goal's line, by its first."""
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    return {row[0]: row[-1] for row in cells if len(row) == 4}


@pytest.mark.parametrize(("ours", "verdict"), [(960.0, "yes"), (900.0, "**no**")])
def test_a_goal_is_judged_by_the_median_ratio(tmp_path: Path, ours: float, verdict: str) -> None:
    found = verdicts(report.write(tmp_path, {"throughput": throughput(ours)}))
    assert found["bridge ÷ ceiling with the same broker load"] == verdict


def test_each_goal_has_its_line_and_says_so_where_it_was_not_measured(tmp_path: Path) -> None:
    text = report.write(tmp_path, {"throughput": throughput(960.0)})
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    goals = {row[0]: row[2] for row in cells if len(row) == 4}
    assert goals["bridge ÷ ceiling alone"] != "not measured"
    assert goals["bridge's CPU per image, PNG, null model, µs"] == "not measured"
    assert goals["bridge ÷ each rival of the same guarantee"] == "not measured"
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


@pytest.mark.parametrize(("two", "verdict"), [(370.0, "yes"), (350.0, "**no**")])
def test_tritons_are_to_add_up(tmp_path: Path, two: float, verdict: str) -> None:
    section = {
        **ABOUT, "counts": [1, 2], "share": 0.25,
        "measurements": {"1": [window(200.0)] * 2, "2": [window(two)] * 2},
    }  # fmt: skip
    found = verdicts(report.write(tmp_path, {"tritons": section}))
    what = "2 Tritons ÷ one, behind one bridge, each with its share of a core"
    assert found[what] == verdict


def rivals(**theirs: tuple[str, float, float]) -> dict[str, Any]:
    """The section, of rivals by their guarantee, images/s and p99; ours: 1,000 and 10 ms."""
    all_of_them = {"bridge": ("at least once", 1000.0, 10.0), **theirs}
    return {
        **ABOUT, "right": {},
        "rivals": {name: {"guarantee": one[0], "how": ""} for name, one in all_of_them.items()},
        "measurements": {
            "Triton alone": [window(1100.0)] * 2,
            **{name: [window(one[1])] * 2 for name, one in all_of_them.items()},
        },
        "points": [
            {"repeat": r, "share": 0.1, "subject": name, "sent": 10, "answered": 10,
             "p50": 1.0, "p99": one[2]}
            for r in range(2) for name, one in all_of_them.items()
        ],
    }  # fmt: skip


def test_each_rival_of_the_same_guarantee_is_to_be_beaten(tmp_path: Path) -> None:
    section = rivals(
        slow=("at least once", 400.0, 20.0),
        near=("at least once", 600.0, 9.0),
        careless=("weaker", 2000.0, 5.0),
    )
    found = verdicts(report.write(tmp_path, {"rivals": section}))
    assert found["bridge ÷ slow: images/s"] == "yes"
    assert found["bridge ÷ slow: p99 at 10% load, theirs in ours"] == "yes"
    assert found["bridge ÷ near: images/s"] == "**no**"
    assert found["bridge ÷ near: p99 at 10% load, theirs in ours"] == "**no**"
    assert found["bridge ÷ careless: images/s"] == ""


def test_a_rival_that_wins_at_anything_comes_first_and_says_what_can_be_won(
    tmp_path: Path,
) -> None:
    section = rivals(
        slow=("at least once", 400.0, 20.0), sooner=("at least once", 500.0, 9.0)
    )  # fmt: skip
    first, second = compare(section)
    assert (first.name, first.wins, second.wins) == ("sooner", True, False)
    assert second.most is not None
    assert second.most.median == 1100 / 400
    text = report.write(tmp_path, {"rivals": section})
    assert text.index("| **sooner** | 2.00 ") < text.index("| slow | 2.50 (2.50 to 2.50) | 2.75 ")


def test_a_peer_that_failed_is_named_with_its_reason(tmp_path: Path) -> None:
    section = {**throughput(960.0), "failures": {"MLServer": "it died\nlong log"}}
    assert "MLServer failed: it died\n" in report.write(tmp_path, {"throughput": section})


def test_latency_is_judged_as_a_difference_to_triton_alone(tmp_path: Path) -> None:
    points = [
        {"repeat": r, "share": 0.1, "subject": s, "rate": 100.0, "sent": 10, "answered": 10,
         "p50": p50, "p90": p50, "p99": p99, "mean_batch": 1.0,
         "wait_p50": 0.1}
        for r in range(2)
        for s, p50, p99 in (("Triton", 4.0, 6.0), ("bridge", 5.5, 30.0))
    ]  # fmt: skip
    found = verdicts(report.write(tmp_path, {"latency": {**LATENCY, "points": points}}))
    assert found["p50 at 10% load, bridge less Triton alone, ms"] == "yes"
    assert found["p99 at 10% load, bridge less Triton alone, ms"] == "**no**"
    assert found["wait for a batch at 10% load, p50, ms"] == "yes"


@pytest.mark.parametrize(("p99", "verdicts_wanted"), [(40.0, "yes"), (101.0, "**no**")])
def test_under_load_latency_is_judged_beside_a_triton_with_the_brokers_load(
    tmp_path: Path, p99: float, verdicts_wanted: str
) -> None:
    points = [
        {"repeat": 0, "share": share, "subject": s, "rate": 100.0, "sent": 10, "answered": 10,
         "p50": 4.0, "p90": 5.0, "p99": at, "mean_batch": 1.0, "wait_p50": 0.1}
        for share in (0.5, 0.75, 0.9)
        for s, at in (
            ("Triton", 6.0), ("Triton beside the broker's load", 25.0), ("bridge", p99),
            ("bridge, exactly once", 90.0),
        )
    ]  # fmt: skip
    found = verdicts(report.write(tmp_path, {"latency": {**LATENCY, "points": points}}))
    what = "p99 at 75% load, bridge ÷ Triton beside the broker's load"
    assert (found[what], found["p99 at 90% load, bridge, ms"]) == (verdicts_wanted,) * 2
    modes = "p99 at 50% load, exactly once ÷ at least once"
    assert found[modes] == ("**no**" if p99 == 40.0 else "yes")


@pytest.mark.parametrize(("p99", "verdict"), [(10.9, "yes"), (11.1, "**no**")])
def test_on_cores_of_its_own_the_bridge_adds_little(
    tmp_path: Path, p99: float, verdict: str
) -> None:
    points = [
        {"repeat": 0, "share": 0.75, "subject": s, "rate": 100.0, "sent": 10, "answered": 10,
         "p50": 4.0, "p90": 5.0, "p99": at, "mean_batch": 1.0, "wait_p50": 0.1}
        for s, at in (("Triton", 6.0), ("bridge", p99))
    ]  # fmt: skip
    text = report.write(tmp_path, {"apart": {**LATENCY, "points": points}})
    found = verdicts(text)
    assert found["p99 at 75% load, bridge less Triton alone, cores of their own, ms"] == verdict
    assert "## Latency by offered load, with the servers on cores of their own" in text


@pytest.mark.parametrize(("cost", "verdict"), [(249.0, "yes"), (251.0, "**no**")])
def test_what_a_single_image_costs_is_shown_by_part(
    tmp_path: Path, cost: float, verdict: str
) -> None:
    parts = {"broker": {"cpu_us": 500.0, "wakes": 17.0}, "bridge": {"cpu_us": cost, "wakes": 20.5}}
    section = {**ABOUT, "repeats_of_parts": [parts, parts], "settings": {"images/s": "200"}}
    text = report.write(tmp_path, {"lone": section})
    assert verdicts(text)["bridge's CPU for a single image, µs"] == verdict
    assert "| broker | 500 (500 to 500) | 17.0 (17.0 to 17.0) |" in text


@pytest.mark.parametrize(("last", "verdict"), [(104, "yes"), (106, "**no**")])
def test_memory_is_to_stay_as_it_is_over_hours(tmp_path: Path, last: int, verdict: str) -> None:
    samples = [
        {"after_s": after, "answered": answered, "rss_bytes": mib << 20}
        for after, answered, mib in ((0.0, 1000.0, 100), (7200.0, 721_000.0, last))
    ]
    section = {**ABOUT, "samples": samples, "settings": {"images/s": "100", "hours": "2"}}
    text = report.write(tmp_path, {"memory": section})
    assert verdicts(text)["growth of the bridge's memory over 2 h, %"] == verdict
    assert f"| 120 | 721,000 | {last}.0 |" in text


def test_it_is_told_where_the_slowest_images_were(tmp_path: Path) -> None:
    point = {"rate": 100.0, "sent": 10, "answered": 10, "p50": 4.0, "p90": 5.0, "p99": 30.0,
             "mean_batch": 1.0, "wait_p50": 0.1}  # fmt: skip
    points = [
        {**point, "subject": "Triton", "repeat": 0, "share": 0.1, "slowest_ms": None},
        {**point, "subject": "bridge", "repeat": 0, "share": 0.1,
         "slowest_ms": {"kafka_in": 25.0, "triton": 4.0}, "broker_pause_ms": 7.5},
        {**point, "subject": "bridge", "repeat": 1, "share": 0.1,
         "slowest_ms": {"kafka_in": 27.0, "triton": 5.0}, "broker_pause_ms": 81.25},
        {**point, "subject": "bridge", "repeat": 0, "share": 0.5},  # an older result
        {**point, "subject": FEW_BRIDGES, "repeat": 0, "share": 0.5,
         "slowest_ms": {"kafka_in": 3.0, "triton": 2.0}, "broker_pause_ms": 0.0},
    ]  # fmt: skip
    text = report.write(tmp_path, {"latency": {**LATENCY, "points": points}})
    head, _, *rows = text.partition("| load |  | kafka in |")[2].splitlines()[:4]
    assert head == " triton | broker's pause |"
    assert rows == ["| 10% | bridge | 26.0 | 4.5 | 81.2 |", "| 50% | 4 bridges | 3.0 | 2.0 | 0.0 |"]


@pytest.mark.parametrize(("p99", "verdict"), [(14.9, "yes"), (15.1, "**no**")])
def test_several_bridges_are_judged_by_the_latency_that_they_add(
    tmp_path: Path, p99: float, verdict: str
) -> None:
    point = {"rate": 100.0, "sent": 10, "answered": 10, "p50": 4.0, "p90": 5.0, "p99": 5.0,
             "mean_batch": 1.0, "wait_p50": 0.1, "share": 0.75}  # fmt: skip
    points = [
        {**point, "subject": subject, "repeat": repeat, **more}
        for subject, more in (("Triton", {}), (FEW_BRIDGES, {"p50": 7.1, "p99": p99}))
        for repeat in (0, 1)
    ]
    found = verdicts(report.write(tmp_path, {"latency": {**LATENCY, "points": points}}))
    assert found["p50 at 75% load, 4 bridges less Triton alone, ms"] == "**no**"
    assert found["p99 at 75% load, 4 bridges less Triton alone, ms"] == verdict


@pytest.mark.parametrize(("p99", "verdict"), [(2399.0, "yes"), (2401.0, "**no**")])
def test_freshness_is_judged_by_the_age_and_a_fifth(
    tmp_path: Path, p99: float, verdict: str
) -> None:
    point = {"rate": 900.0, "sent": 100, "answered": 45, "p50": 9.0, "p90": 9.0, "p99": p99}
    section = {**ABOUT, "top_rate": 450.0, "max_age_s": 2.0, "points": [point]}
    text = report.write(tmp_path, {"freshness": section})
    assert (
        verdicts(text)["p99 of what is answered at twice the throughput, --max-age 2s, ms"]
        == verdict
    )
    assert "| 900 | 100 | 45% | 9 |" in text


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


RAW_GOAL = "photos on one GPU: bridge, raw ÷ ceiling alone"
DECODING = "null model, decoded in Triton"
CORES_GOAL = (
    f"photos on one GPU: bridge, decoded in Triton ÷ {DECODING}, which is less than the ceiling"
)


@pytest.mark.parametrize(("ours", "verdict"), [(370.0, "yes"), (350.0, "**no**")])
def test_photos_are_judged_by_what_the_cores_decode_where_that_is_less(
    tmp_path: Path, ours: float, verdict: str
) -> None:
    rates = {**CEILING, "bridge, raw": 950.0, "bridge, decoded in Triton": ours, DECODING: 400.0}
    found = verdicts(report.write(tmp_path, {"photos": photos("a GPU", rates)}))
    assert found[CORES_GOAL] == verdict
    assert found[RAW_GOAL] == "yes"
    assert GPU_GOAL not in found


def test_repeats_are_compared_as_far_as_both_have_them(tmp_path: Path) -> None:
    section = throughput(960.0)
    section["measurements"]["ceiling with broker load"] = [window(1000.0)]
    found = verdicts(report.write(tmp_path, {"throughput": section}))
    assert found["bridge ÷ ceiling with the same broker load"] == "yes"


def test_what_a_gpu_took_for_it_is_shown(tmp_path: Path) -> None:
    section = throughput(1000.0)
    for one in section["measurements"]["bridge"]:
        one["gpu"] = {"utilisation": 10.4, "watts": 150.0, "memory_mib": 2000}
    text = report.write(tmp_path, {"throughput": section})
    assert "| GPU busy, % | GPU, W | GPU, J per million images |" in text
    (line,) = [one for one in text.splitlines() if one.startswith("| bridge | 1,000 ")]
    assert "| 10 (10 to 10) | 150 (150 to 150) | 150,000 (150,000 to 150,000) |" in line
    (line,) = [one for one in text.splitlines() if one.startswith("| ceiling | 1,100 ")]
    assert "|  |  |  |" in line
    assert "GPU busy" not in report.write(tmp_path, {"throughput": throughput(1000.0)})


@pytest.mark.parametrize(("right", "verdict"), [(913, "yes"), (912, "**no**")])
def test_formats_show_what_they_lose_and_what_torch_does_without_triton(
    tmp_path: Path, right: int, verdict: str
) -> None:
    name = "TorchScript, fp16"
    section = {
        **ABOUT, "right": {name: right}, "torch_alone": {name: [9000.0]},
        "measurements": {name: [{"rate": 8000.0, "mean_batch": 128.0}]},
    }  # fmt: skip
    text = report.write(tmp_path, {"formats": section})
    assert verdicts(text)[f"right of the 1,000 images through Triton, {name}"] == verdict
    assert f"| {name} | {right} | 8,000 (8,000 to 8,000) | 9,000 (9,000 to 9,000) |" in text


def test_how_results_were_made_is_said_beside_them(tmp_path: Path) -> None:
    machine = {
        **ABOUT["machine"], "commit": "abc1234", "driver": "1.2", "versions": {"torch": "2.11.0"},
    }  # fmt: skip
    section = {**throughput(960.0), "machine": machine, "form": "short", "unfinished": True}
    text = report.write(tmp_path, {"throughput": section})
    assert "(short)" in text
    assert "(commit abc1234; torch 2.11.0; driver 1.2)" in text
    assert "stopped before its end" in text


@pytest.mark.parametrize(("several", "verdict"), [(21_000.0, "yes"), (19_000.0, "**no**")])
def test_of_a_gpu_the_best_of_one_bridge_and_several_counts(
    tmp_path: Path, several: float, verdict: str
) -> None:
    section = throughput(15_000.0)
    section["machine"] = {**section["machine"], "device": "a GPU"}
    section["measurements"][next(reversed(SEVERAL_BRIDGES))] = [window(several)] * 2
    found = verdicts(report.write(tmp_path, {"throughput": section}))
    assert found["images/s on one GPU, raw"] == verdict


@pytest.mark.parametrize(("now", "verdict"), [(30.6, "yes"), (31.2, "**no**")])
def test_an_image_costs_no_more_than_in_the_commit_before(
    tmp_path: Path, now: float, verdict: str
) -> None:
    costs = {"raw, before": 30.0, "raw, now": now, "PNG, before": 100.0, "PNG, now": 100.0}
    section = {
        **ABOUT, "settings": {"before": "abc123"},
        "measurements": {name: [window(1000.0, cost)] * 3 for name, cost in costs.items()},
    }  # fmt: skip
    found = verdicts(report.write(tmp_path, {"baseline": section}))
    assert found["bridge's CPU per image, raw: now ÷ abc123"] == verdict
    assert found["bridge's CPU per image, PNG: now ÷ abc123"] == "yes"


def test_without_another_commit_no_line_asks_for_it(tmp_path: Path) -> None:
    assert "now ÷" not in report.write(tmp_path, {"throughput": throughput(960.0)})


def test_what_floats_cost_is_beside_what_pixels_cost(tmp_path: Path) -> None:
    costs = {"JPEG, UINT8": 1000.0, "JPEG, FP32": 1500.0, "raw, UINT8": 100.0, "raw, FP32": 400.0}
    section = {
        **ABOUT, "settings": {"FP32 bytes an image": "602,112"},
        "measurements": {name: [window(100.0, cost)] * 2 for name, cost in costs.items()},
    }  # fmt: skip
    text = report.write(tmp_path, {"floats": section})
    assert "CPU per image of 224x224, raw: FP32 ÷ UINT8 |  | 4.00 (4.00 to 4.00)" in text
    assert "FP32 bytes an image: 602,112" in text


def test_growth_shows_cost_memory_and_starts(tmp_path: Path) -> None:
    section = {
        **ABOUT,
        "measurements": {"1 partition": [window(500.0)], "12 partitions": [window(600.0, 31.0)]},
        "starts": [
            {"waiting": 10_000, "ready_s": 1.0, "first_answer_s": 1.5, "rss_bytes": 100 << 20},
            {"waiting": 10_000, "ready_s": 2.0, "first_answer_s": 2.5, "rss_bytes": 102 << 20},
            {"waiting": 10_000_000, "ready_s": 3.0, "first_answer_s": 3.5, "rss_bytes": 99 << 20},
        ],
    }
    text = report.write(tmp_path, {"growth": section})
    assert (
        "| 12 partitions | 600 (600 to 600) | 31 (31 to 31) | 10 (10 to 10) | 101 (101 to 101) |"
        in text
    )
    assert "| 10,000 | 1.5 (1.0 to 2.0) | 2.0 (1.5 to 2.5) | 101 (100 to 102) |" in text
    assert "| 10,000,000 | 3.0 (3.0 to 3.0) | 3.5 (3.5 to 3.5) | 99 (99 to 99) |" in text


def test_the_page_on_performance_names_every_section() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    assert [name for name in SECTIONS if f"\n| `{name}` | " not in page] == []
