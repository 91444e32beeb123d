"""Lines for people: wrapped at words on a terminal, however narrow, and unwrapped elsewhere."""

import shutil
import sys
import textwrap

import typer


def tell(line: str, indent: int = 0) -> None:
    """Print a line.

    Args:
        indent: columns before continuation lines; where the output is piped, nothing is wrapped.
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
