"""One child process, which never outlives this one and leaves no processes of its own behind."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from stack.errors import StackError

# Reads a pipe that only this process holds open. When this process dies, the guard ends the group.
GUARD = ("/bin/sh", "-c", "trap '' HUP INT TERM; read -r _; kill -KILL 0")

STOPPED_S, STOPPED_POLL_S = 10.0, 0.002
"""Bound on the time that threads take to stop, and how often they are looked at, in seconds."""


class Child:
    """A started process in a process group of its own; its output is appended to a log file.

    A guard, a shell that waits for the death of this process, leads the group. So the group covers,
    from the first moment, also what the child starts (Triton starts a process for each model
    instance, which a parent-death signal would not reach), and its id is valid until the guard is
    reaped.

    Raises:
        StackError: the process could not be started.
    """

    def __init__(
        self, argv: Sequence[str], *, log_path: Path, env: Mapping[str, str] | None, cwd: Path
    ) -> None:
        self._exited = threading.Event()
        self._signalling = threading.Lock()
        self._guard = subprocess.Popen(
            GUARD,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        try:
            with log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=cwd,
                    process_group=self._guard.pid,
                )
        except OSError as error:
            self._end_group()
            raise StackError(f"{argv[0]} can't be started: {error}") from None
        threading.Thread(target=self._reap, name=f"reap {argv[0]}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exited(self) -> bool:
        return self._exited.is_set()

    @property
    def status(self) -> int:
        """The exit status of a process that has exited; negative: the signal that killed it."""
        assert self._process.returncode is not None, "it still runs"
        return self._process.returncode

    @property
    def fate(self) -> str:
        """How the process ended, in words."""
        status = self._process.returncode
        if status is None:
            return "is running"
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"exited with status {status}"

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has exited; False after `timeout_s` seconds."""
        return self._exited.wait(timeout_s)

    def terminate(self) -> None:
        """Send SIGTERM to the process itself, which ends its own children; wakes it if it is
        paused."""
        with self._signalling:
            if not self.exited:
                os.kill(self.pid, signal.SIGTERM)
                os.killpg(self._guard.pid, signal.SIGCONT)

    def kill(self) -> None:
        self._signal_group(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it with SIGSTOP, and wait until each of its threads has stopped.

        Raises:
            StackError: they have not stopped in time.
        """
        self._signal_group(signal.SIGSTOP)
        # The call returns earlier: on a busy machine, a broker went on to answer five records.
        deadline = time.monotonic() + STOPPED_S
        while not self.exited and not _stopped(self.pid):
            if time.monotonic() > deadline:
                raise StackError(f"process {self.pid} did not stop in {STOPPED_S:.0f} s")
            time.sleep(STOPPED_POLL_S)

    def resume(self) -> None:
        self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: signal.Signals) -> None:
        with self._signalling:
            if not self.exited:
                os.killpg(self._guard.pid, number)
                if number == signal.SIGSTOP:
                    os.kill(self._guard.pid, signal.SIGCONT)  # it must be able to notice our death

    def _reap(self) -> None:
        # Not reaped here, so that its id cannot be reused while it is being signalled.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with self._signalling:
            self._process.wait()
            self._end_group()
            self._exited.set()

    def _end_group(self) -> None:
        os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()


def _stopped(pid: int) -> bool:
    """Whether every thread of a process is stopped; a thread that has ended is."""
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if thread.read_text().rpartition(")")[2].split()[0] not in "TtZX":
                return False
    return True
