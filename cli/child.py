"""Commands of this installation as child processes."""

import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("__main__.py")


def command(name: str, *arguments: object) -> list[str]:
    """The argument list that runs `tkb NAME`, from any folder."""
    return [sys.executable, str(PROGRAM), name, *map(str, arguments)]
