"""Programs are kept on cores, and their threads are told apart."""

import os
import subprocess
import sys

from benchmarks.apart import confine
from benchmarks.lone import used_by
from benchmarks.procfs import PROC

THREADS = (
    "import sys, threading\n"
    "stop = threading.Event()\n"
    "threading.Thread(target=stop.wait).start()\n"
    "print('started', flush=True)\n"
    "sys.stdin.read()\n"
    "stop.set()\n"
)


def test_every_thread_is_confined_and_counted() -> None:
    core = min(os.sched_getaffinity(0))
    with subprocess.Popen(
        [sys.executable, "-c", THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        confine([process.pid], [core])
        tasks = [int(one.name) for one in (PROC / str(process.pid) / "task").iterdir()]
        assert [os.sched_getaffinity(task) for task in tasks] == [{core}, {core}]
        used = [one for _, one in used_by([process.pid])]
        process.communicate()
    assert len(used) == 2
    assert sum(one.cpu_s for one in used) > 0
    assert all(one.wakes > 0 for one in used)
