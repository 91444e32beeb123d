"""What is printed, on a narrow terminal, without colour, and where it is no terminal."""

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from consumer.measuring.table import print_summary
from consumer.report.command import print_comparison
from tests.consumer.runs import Run, make_run
from tests.consumer.scenes import RUNS

COLUMNS = 60


def summary(console: Console, run: Run) -> None:
    print_summary(console, run.summary)


def comparison(console: Console, run: Run) -> None:
    names = ("results/2026-11-26", "results/2026-11-27")
    print_comparison(console, names, make_run([2000] * 2000).summary, run.summary)


PRINTED: list[Callable[[Console, Run], None]] = [summary, comparison]


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("show", PRINTED)
def test_nothing_is_cut_on_sixty_columns(show: Callable[[Console, Run], None], name: str) -> None:
    run = RUNS[name]()
    narrow, wide = io.StringIO(), io.StringIO()
    show(Console(file=narrow, width=COLUMNS), run)
    show(Console(file=wide, width=400), run)
    assert max(map(len, narrow.getvalue().splitlines())) <= COLUMNS
    # Wrapped, perhaps: but every word is there.
    whole = "".join(sorted(filter(str.isalnum, wide.getvalue())))
    assert "".join(sorted(filter(str.isalnum, narrow.getvalue()))) == whole


@pytest.mark.parametrize("show", PRINTED)
def test_without_a_terminal_or_with_no_color_nothing_is_coloured(
    show: Callable[[Console, Run], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RUNS["usual"]()
    piped, plain = io.StringIO(), io.StringIO()
    show(Console(file=piped), run)
    assert "\x1b" not in piped.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    show(Console(file=plain, force_terminal=True), run)
    assert re.findall(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d)", plain.getvalue()) == []
