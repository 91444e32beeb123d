"""Standard streams that are closed, full, or cannot hold a text."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TKB = f"{sys.executable} cli"
AFTERWARDS = """\
import os, sys
from cli.main import run
sys.argv = ["tkb", "--version"]
try: run()
except SystemExit as ended: assert ended.code == 0
from cli.terminal import tell
tell("a line")
assert [os.readlink(f"/proc/self/fd/{number}") for number in CLOSED] == ["/dev/null"] * len(CLOSED)
"""


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("command", ["--help", "--version", "read --help"])
def test_an_output_that_is_full_is_one_line(command: str) -> None:
    done = shell(f"{TKB} {command} > /dev/full")
    assert done.stderr == "error: the output cannot be written: No space left on device\n"
    assert done.returncode == 1


def test_a_reader_that_ends_is_no_error_text() -> None:
    done = shell(f"{TKB} --help | true; exit ${{PIPESTATUS[0]}}")
    assert done.stderr == ""


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_closed_stream_is_taken_by_nothing_else(closed: tuple[int, ...]) -> None:
    program = AFTERWARDS.replace("CLOSED", repr(closed))
    done = shell(f"exec {sys.executable} -c '{program}' " + " ".join(f"{n}>&-" for n in closed))
    assert done.returncode == 0, done.stderr
