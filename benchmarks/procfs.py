"""CPU time and memory of process trees, from Linux's /proc."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PROC = Path("/proc")


class Usage(NamedTuple):
    """The use of a process and all its descendants.

    Attributes:
        cpu_s: user and system time in seconds since each process began, including its threads.
        rss_bytes: resident memory; pages shared between processes count more than once.
    """

    cpu_s: float
    rss_bytes: int


class _Process(NamedTuple):
    parent: int
    ticks: int
    pages: int


def parse_stat(text: str) -> tuple[int, int, int]:
    """(parent, clock ticks of CPU, resident pages) from the text of /proc/PID/stat."""
    # The name, in parentheses, may itself contain spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[21])


def tree_usage(roots: Iterable[int]) -> Usage:
    """The use of `roots` and their descendants together, without processes that have ended."""
    processes = _tree(roots)
    ticks = sum(one.ticks for one in processes.values())
    pages = sum(one.pages for one in processes.values())
    return Usage(ticks / TICKS, pages * PAGE)


def tree(roots: Iterable[int]) -> set[int]:
    """`roots` and their descendants that still run."""
    return set(_tree(roots))


def threads(roots: Iterable[int]) -> Iterator[Path]:
    """The folder in /proc of each thread of `roots` and their descendants."""
    for pid in tree(roots):
        yield from (PROC / str(pid) / "task").iterdir()


def _tree(roots: Iterable[int]) -> dict[int, _Process]:
    processes: dict[int, _Process] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                processes[int(entry.name)] = _Process(*parse_stat((entry / "stat").read_text()))
            except OSError:  # it ended meanwhile
                continue
    wanted = {pid for pid in roots if pid in processes}
    frontier = set(wanted)
    while frontier:
        frontier = {p for p, one in processes.items() if one.parent in frontier} - wanted
        wanted |= frontier
    return {pid: processes[pid] for pid in wanted}
