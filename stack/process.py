"""One child process: never outlives this one, and never leaves processes of its own behind."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack.errors import StackError

# Reads a pipe that only we hold: when we die, however that happens, it ends, and so do all.
GUARD = ("/bin/sh", "-c", "trap '' HUP INT TERM; read -r _; kill -KILL 0")


class Child:
    """A started process in a process group of its own; its output is appended to a log file.

    A guard, a shell that waits for our death, leads the group. So the group covers what the child
    starts as well (Triton starts a process for each model instance, which a parent-death signal
    would not reach), from its first moment, and its id stays ours until the guard is reaped.

    Raises:
        StackError: it could not be started at all.
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
        """Its exit status, negative: the signal that killed it; for one that has exited."""
        assert self._process.returncode is not None, "it still runs"
        return self._process.returncode

    @property
    def fate(self) -> str:
        """How it ended, in words."""
        status = self._process.returncode
        if status is None:
            return "is running"
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"exited with status {status}"

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has exited; False when it still runs after `timeout_s` seconds."""
        return self._exited.wait(timeout_s)

    def terminate(self) -> None:
        """SIGTERM to the process itself, which tells its own; wakes it when it is paused."""
        with self._signalling:
            if not self.exited:
                os.kill(self.pid, signal.SIGTERM)
                os.killpg(self._guard.pid, signal.SIGCONT)

    def kill(self) -> None:
        self._signal_group(signal.SIGKILL)

    def pause(self) -> None:
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: signal.Signals) -> None:
        with self._signalling:
            if not self.exited:
                os.killpg(self._guard.pid, number)
                if number == signal.SIGSTOP:
                    os.kill(self._guard.pid, signal.SIGCONT)  # it must see us die

    def _reap(self) -> None:
        # Not yet reaped, so that its id can't be anyone else's while somebody signals it.
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
