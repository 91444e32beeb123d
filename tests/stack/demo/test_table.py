"""What the demo says at its end, on a narrow terminal."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from exporter.detector.score import Score
from stack.demo import table
from stack.demo.subject import CLASSIFY
from tests.consumer.runs import make_run

SCORE = Score(0.701, 0.912, 0.623, 0.25, 1234)


@pytest.mark.parametrize("score", [None, SCORE], ids=["classes", "boxes"])
def test_nothing_is_cut_on_sixty_columns(
    score: Score | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow, wide = io.StringIO(), io.StringIO()
    for file, columns in ((narrow, 60), (wide, 300)):
        monkeypatch.setattr(table, "console", Console(file=file, width=columns, highlight=False))
        table.report(make_run([2000] * 2000).summary, Path("results"), CLASSIFY, score)
    assert max(map(len, narrow.getvalue().splitlines())) <= 60
    # Wrapped, perhaps: but every word is there.
    assert _letters(narrow) == _letters(wide)


def _letters(file: io.StringIO) -> list[str]:
    return sorted(filter(str.isalnum, file.getvalue()))
