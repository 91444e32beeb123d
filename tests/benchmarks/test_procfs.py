"""CPU time is that of a whole process tree."""

import subprocess
import sys

from benchmarks.procfs import TICKS, parse_stat, tree_usage


def test_a_process_name_with_spaces_and_parentheses_is_no_trap() -> None:
    text = "7 (a) b (c)) S 42 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0 9 4096000 1000 0"
    assert parse_stat(text) == (42, 200, 1000)


def test_the_time_of_a_grandchild_counts() -> None:
    busy = (
        "import sys, time\n"
        "while time.process_time() < 0.3: pass\n"
        "print('done', flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        usage = tree_usage([process.pid])
        process.communicate()
    # /proc gives user and system time in whole ticks, each rounded down.
    assert usage.cpu_s > 0.3 - 2 / TICKS
    assert usage.rss_bytes > 0


def test_a_process_that_is_gone_counts_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert tree_usage([process.pid]) == (0.0, 0)
