"""One child process: never outlives this one, and never leaves processes of its own behind."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from stack.errors import StackError


class Child:
    """A started process in a process group of its own; its output is appended to a log file.

    The kernel kills it when this process dies, however that happens. Linux ties that to the
    *thread* that started the child, so each child has a thread that lives exactly as long. The
    thread also reaps it, and kills what is left of its group first, while the group's id can't
    have been given to anyone else.

    Raises:
        StackError: it could not be started at all.
    """

    def __init__(
        self, argv: Sequence[str], *, log_path: Path, env: Mapping[str, str] | None, cwd: Path
    ) -> None:
        if shutil.which("setpriv") is None:
            raise StackError("setpriv is not installed: it is in the package util-linux")
        self._argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        self._log_path, self._env, self._cwd = log_path, env, cwd
        self._exited = threading.Event()
        self._signalling = threading.Lock()
        started: Future[subprocess.Popen[bytes]] = Future()
        threading.Thread(target=self._live, args=(started,), name=argv[0], daemon=True).start()
        try:
            self._process = started.result()
        except OSError as error:
            raise StackError(f"{argv[0]} can't be started: {error}") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exited(self) -> bool:
        return self._exited.is_set()

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

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group; nothing happens when the child has exited."""
        with self._signalling:
            if not self.exited:
                os.killpg(self.pid, number)

    def _live(self, started: "Future[subprocess.Popen[bytes]]") -> None:
        try:
            with self._log_path.open("ab") as log:
                process = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    process_group=0,
                )
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(process)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._signalling:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._exited.set()
