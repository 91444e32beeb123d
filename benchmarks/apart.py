"""Latency by load where the servers and the bridge do not share cores, as on hosts of their own."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from benchmarks.latency import latency
from benchmarks.plan import Plan, Result
from benchmarks.procfs import threads
from benchmarks.progress import Progress
from benchmarks.rig import Rig
from stack.errors import StackError


def apart(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """The section `latency`, with the servers on one half of the cores; the bridge and the load
    have the other half.

    Raises:
        StackError: there is only one core.
    """
    cores = sorted(os.sched_getaffinity(0))
    servers, rest = cores[: len(cores) // 2], cores[len(cores) // 2 :]
    if not servers:
        raise StackError("to keep the servers apart from the bridge takes two cores or more")
    confine([*rig.kafka_pids, rig.triton.pid], servers)
    with _only_on(rest):
        return latency(rig, plan, progress)


def confine(pids: Iterable[int], cores: Iterable[int]) -> None:
    """Let processes, with all that they have started, run only on these cores."""
    wanted = set(cores)
    for thread in threads(pids):
        try:
            os.sched_setaffinity(int(thread.name), wanted)
        except ProcessLookupError:  # it ended meanwhile
            continue


@contextmanager
def _only_on(cores: Iterable[int]) -> Iterator[None]:
    """Run this process, and whatever it starts, only on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
