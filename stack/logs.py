"""The part of a server's log that belongs in an error message."""

from collections.abc import Callable
from pathlib import Path

TAIL_LINES = 15
MAX_CAUSES = 5
MAX_CAUSE = 1500
"""Most characters of one cause: enough for a Python traceback with its message."""
READ_BYTES = 1 << 20


def excerpt(path: Path, since: int, causes: Callable[[str], list[str]]) -> str:
    """The lines that the server itself marks as errors, and its last lines, indented.

    Args:
        since: offset in the file at which this run of the server begins.
        causes: picks the errors from the text.
    """
    try:
        with path.open("rb") as log:
            log.seek(max(since, path.stat().st_size - READ_BYTES))
            text = log.read().decode(errors="replace")
    except OSError as error:
        return f"  (no log: {error})"
    found = [cause[:MAX_CAUSE] for cause in causes(text)[:MAX_CAUSES]]
    tail = [line for line in text.splitlines()[-TAIL_LINES:] if line not in found]
    parts = ["Errors in its log:", *_indented(found)] if found else []
    return "\n".join([*parts, f"The end of {path}:", *(_indented(tail) or ["  (empty)"])])


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for text in lines for line in text.splitlines()]
