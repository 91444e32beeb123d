"""Show two runs side by side: `tkb compare`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.app import fail, make_app
from consumer.files import write_atomically
from consumer.report.comparison import caveats, compare
from consumer.report.page import write_comparison
from consumer.summary import Summary, SummaryError
from consumer.units import clipped
from wire.deadletter import one_line

SUMMARY = "latency_summary.json"
MAX_BYTES = 16 << 20
"""Most bytes of a summary that is read. A summary in which every histogram is full has a hundredth
of it."""
STYLES = {"better": "green", "worse": "red", "": ""}

app = make_app()


class RunError(Exception):
    """A run that cannot be read; the text says which and why."""


def read_run(path: Path) -> Summary:
    """The summary at `path`, which may be the folder of the results.

    Raises:
        RunError: there is no file, or it is no summary.
    """
    file = path / SUMMARY if path.is_dir() else path
    try:
        with file.open("rb") as opened:  # it may be a pipe, which does not say its size
            text = opened.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise RunError(f"{file}: too large for a latency summary")
        return Summary.from_json(text)
    except OSError as error:
        raise RunError(f"{file}: {error.strerror}") from None
    except SummaryError as error:
        raise RunError(f"{file}: {error}") from None


def print_comparison(console: Console, names: tuple[str, str], a: Summary, b: Summary) -> None:
    for letter, name, run in zip("AB", names, (a, b), strict=True):
        run_id = "all runs" if run.run_id is None else f"run {clipped(run.run_id, 60)}"
        console.print(Text(f"{letter}  {name}  ({run_id})"))
    # No lines between columns, and texts that may wrap: so it fits on 60 columns.
    table = Table(box=SIMPLE_HEAD)
    for column in ("", "A", "B", "change"):
        table.add_column(column, justify="right" if column else "left", overflow="fold")
    group = ""
    few = False
    for line in compare(a, b):
        if line.group != group:
            group = line.group
            table.add_section()
            table.add_row(Text(group, style="bold"))
        few = few or line.few
        table.add_row(
            Text(f"  {one_line(line.name)}{' *' if line.few else ''}"),
            line.text(line.a),
            line.text(line.b),
            Text(f"{line.change_text} {line.verdict}".strip(), style=STYLES[line.verdict]),
        )
    console.print(table)
    if few:
        console.print("* fewer than 10 images stand behind it: its change is not judged")
    for caveat in caveats(a, b):
        console.print(Text(f"Before comparing: {one_line(caveat)}", style="yellow"))


@app.command()
def main(
    a: Annotated[
        Path, typer.Argument(help=f"A run: its folder of results, or its {SUMMARY}.", exists=True)
    ],
    b: Annotated[Path, typer.Argument(help="The run to set beside it.", exists=True)],
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it as a page, too.", show_default=False),
    ] = None,
) -> None:
    """Show two runs side by side: latency, rate, accuracy and stages, and what changed.

    A change of less than 5 % is called neither better nor worse.

    Exit code: 0 compared, 1 a run that cannot be read, 2 usage.
    """
    names = (str(a), str(b))
    try:
        runs = (read_run(a), read_run(b))
        if html is not None:
            write_atomically(html, lambda file: write_comparison(file, names, *runs))
    except (RunError, SummaryError, OSError) as error:
        fail(error)
    print_comparison(Console(), names, *runs)
    if html is not None:
        typer.echo(str(html))
