import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consumer.report.command import app
from tests.consumer.runs import make_run

pytestmark = pytest.mark.slow

COMPARE = Path(__file__).resolve().parents[2] / "consumer" / "compare.py"


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two folders of results."""
    for name, latency in (("before", 1000), ("after", 3000)):
        (tmp_path / name).mkdir()
        text = make_run([latency] * 1000).summary.to_json()
        (tmp_path / name / "latency_summary.json").write_bytes(text)
    return [str(tmp_path / "before"), str(tmp_path / "after")]


def test_two_runs_are_set_side_by_side_in_the_terminal(runs: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(COMPARE), *runs], capture_output=True, text=True, check=True
    )
    p50 = next(line for line in done.stdout.splitlines() if "p50" in line)
    assert p50.replace("│", "").split() == ["p50", "1", "ms", "3", "ms", "+200.0%", "worse"]


def test_a_summary_can_be_named_itself_and_a_page_is_written_if_asked(
    runs: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "new" / "page.html"
    files = [f"{run}/latency_summary.json" for run in runs]
    done = CliRunner().invoke(app, [*files, "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert str(page) in done.output.replace("\n", "")
    assert page.read_text().startswith("<!doctype html>")


def test_a_path_that_is_not_utf8_is_written_and_printed(runs: list[str], tmp_path: Path) -> None:
    page = tmp_path / "\udcff.html"
    done = subprocess.run(
        [sys.executable, COMPARE, *runs, "--html", page],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\\udcff.html\n")
    assert page.exists()


@pytest.mark.parametrize("text", [b"{}", b"\xff", b"", b"[]", b'{"sent": NaN}', b'{"run_id": "cut'])
def test_what_is_no_summary_is_one_clear_line(text: bytes, runs: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(text)
    done = CliRunner().invoke(app, [runs[0], str(tmp_path / "bad.json")])
    assert done.exit_code == 1
    assert "error:" in done.output
    assert "bad.json: not a latency summary" in done.output
    assert done.output.count("\n") == 1


def test_a_summary_of_another_version_is_told_whatever_it_holds(
    runs: list[str], tmp_path: Path
) -> None:
    (tmp_path / "later.json").write_bytes(b'{"version": 2, "images": 5}')
    done = CliRunner().invoke(app, [runs[0], str(tmp_path / "later.json")])
    assert done.exit_code == 1
    assert done.output.endswith("later.json: a latency summary of version 2, not 1\n")


def test_what_does_not_end_is_not_read_to_its_end(runs: list[str]) -> None:
    done = CliRunner().invoke(app, [runs[0], "/dev/zero"])
    assert done.exit_code == 1
    assert done.output == "error: /dev/zero: too large for a latency summary\n"


def test_a_strangers_summary_does_not_control_the_terminal(runs: list[str], tmp_path: Path) -> None:
    wild = json.loads((Path(runs[0]) / "latency_summary.json").read_bytes())
    wild |= {
        "throughput": 1e308,
        "models": {"\x1b[2J": 1},
        "valid": False,
        "reasons": ["\x1b[0m\n"],
    }
    wild["stages"] = [{**wild["stages"][0], "name": "\x1b[1m"}]
    (tmp_path / "wild.json").write_text(json.dumps(wild))
    done = CliRunner().invoke(app, [runs[0], str(tmp_path / "wild.json")])
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output


def test_a_folder_without_results_says_which_file_is_not_there(
    runs: list[str], tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, [runs[0], str(tmp_path)])
    assert done.exit_code == 1
    assert "latency_summary.json: No such file" in done.output


def test_wrong_usage_exits_with_2(runs: list[str]) -> None:
    for bad in ([], [runs[0]], [runs[0], "/absent"]):
        assert CliRunner().invoke(app, bad).exit_code == 2
