"""The common part of the stack's servers: start, wait until ready, stop."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from stack.errors import StackError
from stack.logs import excerpt
from stack.process import Child

log = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0
"""Seconds in which a server must start: the disk may be cold, and a model warms up at many batch
sizes. A child that died is noticed at once."""

STOP_TIMEOUT_S = 30.0
"""Seconds in which a server must end, which all servers need less than; after that it is killed."""

POLL_S = 0.05


class Command(NamedTuple):
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    """The whole environment; None: that of this process."""


class Service(ABC):
    """A server run as a child process, with its files in one directory.

    Ports and data stay the same when it is started again. A context manager: it starts on entry
    and stops on exit.

    Attributes:
        name: its name in messages.
        directory: its own folder, created at start.
        log_path: file to which all its output is appended.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory.absolute()
        self.log_path = self.directory / f"{name.lower()}.log"
        self._child: Child | None = None
        self._log_start = 0

    @abstractmethod
    def _prepare(self) -> Command:
        """Write the files that the server needs; called at each start.

        Raises:
            StackError: something is missing.
        """

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the server itself says that it serves; must not block for over about a second."""

    def _clean_up(self) -> None:  # noqa: B027 - most servers leave nothing behind elsewhere
        """Remove what the dead server has left outside its directory."""

    def _causes(self, log: str) -> list[str]:  # noqa: ARG002 - for servers that mark them
        """The lines of its log that say why it failed."""
        return []

    def start(self) -> None:
        """Start the server and return when it serves; does nothing when it already runs.

        Raises:
            StackError: something is missing, or the server died or did not become ready; the text
                ends with the last lines of its log.
        """
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the server without waiting, so that several can start side by side."""
        if self.running:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        command = self._prepare()
        self._child = Child(
            command.argv, log_path=self.log_path, env=command.env, cwd=self.directory
        )

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the launched server serves; kill it when it does not.

        Raises:
            StackError: it died or did not become ready.
        """
        if self._child is None:
            raise StackError(f"{self.name} was not started")
        try:
            self._wait_ready(self._child, time.monotonic() + timeout_s)
        except BaseException:  # also at a Ctrl-C: nobody else would stop the child
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end, and kill it after `STOP_TIMEOUT_S`; does nothing when it does not run."""
        if self._child is None:
            return
        self._child.terminate()
        if not self._child.wait(STOP_TIMEOUT_S):
            log.warning("%s did not stop in %.0f s and is killed", self.name, STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """Kill it with SIGKILL, as in a crash; returns when it is gone; idempotent."""
        if self._child is None:
            return
        self._child.kill()
        self._child.wait(STOP_TIMEOUT_S)
        self._child = None
        self._clean_up()

    def pause(self) -> None:
        """Pause it with SIGSTOP: it keeps its connections and answers nothing."""
        self._require_running().pause()

    def resume(self) -> None:
        self._require_running().resume()

    @property
    def running(self) -> bool:
        """Whether the process exists; it may still be starting, or paused."""
        return self._child is not None and not self._child.exited

    @property
    def pid(self) -> int:
        return self._require_running().pid

    @property
    def died(self) -> bool:
        """Whether it ended by itself, without being stopped or killed from here."""
        return self._child is not None and self._child.exited

    def require_alive(self) -> None:
        """Check that it did not end by itself.

        Raises:
            StackError: it did; the text ends with the end of its log.
        """
        if self._child is not None and self.died:
            raise self._failure(f"{self.name} died: it {self._child.fate}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_ready(self, child: Child, deadline: float) -> None:
        while not self._is_ready():
            if child.exited:
                raise self._failure(f"{self.name} did not start: it {child.fate}")
            if time.monotonic() > deadline:
                raise self._failure(f"{self.name} started and did not become ready in time")
            child.wait(POLL_S)
        # Another server on the same port may have answered in its place.
        if child.exited:
            raise self._failure(f"{self.name} did not start: it {child.fate}")

    def _require_running(self) -> Child:
        if self._child is None or self._child.exited:
            raise StackError(f"{self.name} is not running")
        return self._child

    def _failure(self, what: str) -> StackError:
        return StackError(f"{what}\n{excerpt(self.log_path, self._log_start, self._causes)}")
