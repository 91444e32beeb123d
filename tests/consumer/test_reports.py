"""What a person gets to see, of runs of every kind."""

import io
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from consumer.files import write_atomically
from consumer.measuring import text
from consumer.measuring.evaluate import evaluate
from consumer.measuring.matching import Matcher, Rows
from consumer.measuring.statistics import Measured, measured
from consumer.measuring.table import print_summary
from consumer.report import plots
from consumer.summary import Summary, TritonStages
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
