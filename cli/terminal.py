"""Lines for a person: wrapped at words on a terminal, however narrow, and whole elsewhere."""

import shutil
import sys
import textwrap

import typer


def tell(line: str, indent: int = 0) -> None:
    """Print a line.

    Args:
        indent: of what does not fit; where the line is piped it stays one line.
    """
    if sys.stdout.isatty():
        line = textwrap.fill(
            line,
            shutil.get_terminal_size().columns,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    typer.echo(line)
