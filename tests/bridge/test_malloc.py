"""The memory of a large request is used again for the next one."""

import subprocess
import sys
from string import Template

import pytest

from bridge.malloc import LARGEST, keep_large_pieces

LARGE = 64 << 20
"""Bytes of a request of 64 images of 1 MB."""
PROGRAM = Template("""
import resource
from bridge.malloc import keep_large_pieces
$before
for _ in range(2):
    began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * $size
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - began
print(faults * resource.getpagesize())
""")


def faulted(before: str) -> int:
    """Bytes that the kernel gave to a program that needed as much as it had had before."""
    code = PROGRAM.substitute(before=before, size=LARGE)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not keep_large_pieces(), reason="glibc alone has these options")
def test_a_large_piece_of_memory_is_used_again() -> None:
    assert LARGEST >= 2 * LARGE
    assert faulted("keep_large_pieces()") < LARGE // 16
    assert faulted("") >= LARGE  # what it is for
