"""What a person gets to see, of runs of every kind."""

import errno
import io
import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from consumer.files import make_folder, write_atomically
from consumer.measuring import text
from consumer.measuring.evaluate import evaluate
from consumer.measuring.matching import Matcher, Rows
from consumer.measuring.statistics import Measured, measured
from consumer.measuring.table import print_summary
from consumer.report import plots
from consumer.summary import Summary, TritonStages
from consumer.units import duration, share
from tests.consumer.runs import RUNS_US
from wire.prediction import STAMPS, Prediction, ScoredLabel

TRITON = TritonStages("m", "1", 10, 40, 10, 4.0, 0.5, 0.1, 2.0, 0.1)


def run(latencies_us: list[int], *, warmup: int = 0) -> tuple[Rows, Measured, Summary]:
    """Images a millisecond apart, each answered after so long; its name tries to be markup."""
    matcher = Matcher(10**6)
    for number, latency in enumerate(latencies_us):
        due = (number + 1) * 1_000_000
        stamps = dict.fromkeys(STAMPS, due)
        top = (ScoredLabel(label="[red]$x^2$", class_id=0, score=0.5),)
        matcher.image(f"[b]{number}", due, due, None)
        answer = Prediction(f"[b]{number}", "m", "1", top, stamps, 1)
        matcher.prediction(answer, due + latency * 1000)
    rows = matcher.rows()
    chosen = measured(rows, warmup)
    summary = evaluate(
        matcher, rows, chosen, run_id="$a_b$ [bold]", ended_by="count", expected=None,
        with_images=True, warmup=warmup, unreadable=0, allow_backlog=False, triton=[TRITON],
    )  # fmt: skip
    return rows, chosen, summary


@pytest.mark.parametrize("name", RUNS_US)
def test_any_run_can_be_drawn_and_told(name: str) -> None:
    rows, chosen, summary = run(RUNS_US[name])
    drawing, table, written = io.BytesIO(), io.StringIO(), io.BytesIO()
    plots.draw(drawing, chosen, summary)
    with Image.open(drawing) as figure:
        figure.load()
        assert figure.width > figure.height > 500
    print_summary(Console(file=table, width=80), summary)
    assert ("INVALID" in table.getvalue()) == (not summary.valid)
    text.write_results(written, rows, summary)
    lines = written.getvalue().decode().splitlines()
    assert sum(not line.startswith("#") for line in lines) == len(RUNS_US[name])
    assert Summary.from_json(summary.to_json()) == summary


def test_a_run_that_is_all_warm_up_says_so() -> None:
    _, _, summary = run([1000] * 5, warmup=10)
    assert not summary.valid
    assert "warm-up" in summary.reasons[0]


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, lambda file: file.write(b"old"))

    with pytest.raises(ZeroDivisionError):
        write_atomically(path, lambda file: file.write(b"new" * (1 // 0)))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()

    def full(_file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for path, write, why in (
        (tmp_path / "folder", lambda _: None, "Is a directory"),
        (tmp_path / "file" / "below", lambda _: None, "Not a directory"),
        (tmp_path / "full", full, "No space left on device"),
    ):
        with pytest.raises(OSError, match=re.escape(f"cannot write {path}: ")) as refused:
            write_atomically(path, write)
        assert why in str(refused.value) or "File exists" in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_for_results_is_made_and_tried_at_once(tmp_path: Path) -> None:
    make_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file: it is no folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(OSError, match=r"cannot write into /proc/none: "):
        make_folder(Path("/proc/none"))


def test_times_that_are_all_clock_errors_are_not_shown_as_none() -> None:
    rows, _, summary = run([-5, -5])
    table, written = io.StringIO(), io.BytesIO()
    print_summary(Console(file=table, width=80), summary)
    text.write_results(written, rows, summary)
    told = written.getvalue().decode()
    assert "2 images arrived before they left" in table.getvalue()
    assert "Latency" not in table.getvalue()
    assert "0 images, 2 clock errors" in told
    assert " mean   " not in told
    for shown in (table.getvalue(), told):
        line = next(one for one in shown.splitlines() if "kafka" in one and "out" in one)
        assert line.count("-") == 3


def test_a_time_is_told_in_a_unit_that_suits() -> None:
    assert [duration(ms) for ms in (0, 0.25, 4.7, 1250, 2.1e6, -3.6e6, 86_400_000 * 124.5)] == [
        "0", "250 µs", "4.7 ms", "1.25 s", "2,100 s", "-3,600 s", "124 days",
    ]  # fmt: skip


def test_only_a_share_is_told_in_per_cent() -> None:
    assert [share(score) for score in (0, 0.987, 1, 7, -2.5, 1e30)] == [
        "0%", "99%", "100%", "7", "-2.5", "1e+30",
    ]  # fmt: skip
