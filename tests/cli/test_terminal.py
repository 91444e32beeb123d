"""What is shown on a narrow terminal, without colour, and where there is no terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from stack.paths import ROOT

COLUMNS = 60
TEXT = "sending: 100 of 100,000 sent, 99 images/s, 54,321 acknowledged, 54,320 resolved"
LINE = "missing        5: nothing was answered; does a bridge run for this topic? (tkb bridge)"
PROGRAM = f"""\
import time
from cli.progress import LiveLine
from cli.terminal import tell
for total in (None, 100_000):
    with LiveLine(total, "waiting") as live:
        for count in range(3):
            live.show({TEXT!r}, count, count)
tell({LINE!r}, 15)
"""
COLOUR = r"\x1b\[(?:\d+;)*(?:3[0-7]|38|9[0-7])(?:;\d+)*m"


def shown(**environment: str) -> str:
    """All that the program writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    given = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**given, "TERM": "xterm-256color", **environment},
    ) as child:  # fmt: skip
        os.close(theirs)
        found = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the terminal is closed
                break
            if not piece:
                break
            found += piece
        assert child.wait(60) == 0
    os.close(ours)
    return found.decode()


def lines(text: str) -> list[str]:
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    return [line.rstrip() for line in re.split(r"[\r\n]+", plain)]


def test_nothing_is_cut_on_sixty_columns() -> None:
    found = lines(shown())
    assert max(map(len, found)) <= COLUMNS
    whole = " ".join(found)
    assert TEXT in whole
    assert "…" not in whole
    first, second = found[-3:-1]
    assert f"{first} {second.strip()}" == LINE
    assert second.startswith(" " * 15)


def test_colours_are_left_out_where_they_are_not_wanted() -> None:
    assert re.search(COLOUR, shown())
    assert not re.search(COLOUR, shown(NO_COLOR="1"))


def test_piped_it_is_plain_and_a_line_stays_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout == f"{LINE}\n"
    assert all(line.endswith(TEXT) for line in done.stderr.splitlines())
