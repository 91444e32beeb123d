"""Runs a bridge or a Triton with a share of a core, as containers do, by Linux's control groups."""

import time
from pathlib import Path

from benchmarks.procfs import tree
from stack.bridge import Bridge
from stack.errors import StackError
from stack.service import Service
from stack.triton import Triton

SHARE = 0.25
"""Share of a core for each: small enough to leave room for the broker beside several of them."""
PERIOD_US = 100_000
LEAVE_S = 20.0
ROOT = Path("/sys/fs/cgroup")


class Shared(Service):
    """Runs for `SHARE` of each tenth of a second, with all that it starts."""

    def confine(self) -> None:
        """Hold the process, and those that it has started, to its share from now on.

        Raises:
            StackError: it cannot be confined; it does not run then.
        """
        try:
            self._confine()
        except OSError as error:
            self.kill()
            raise StackError(
                f"{self.name} cannot be given a share of the CPU: {error}; that takes root and "
                f"control groups with `cpu` at {ROOT}"
            ) from None

    def _confine(self) -> None:
        group = self._group
        group.mkdir()
        if group.parent == ROOT:
            (group / "cpu.max").write_text(f"{SHARE * PERIOD_US:.0f} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(f"{SHARE * PERIOD_US:.0f}")
        # Applies to its threads, and to processes that it starts from now on.
        for pid in tree([self.pid]):
            (group / "cgroup.procs").write_text(str(pid))

    @property
    def _group(self) -> Path:
        # The older version of control groups has a hierarchy for each controller.
        older = ROOT / "cpu"
        return (older if older.is_dir() else ROOT) / self.name

    def _clean_up(self) -> None:
        super()._clean_up()
        # Processes that it had started end a moment after it.
        deadline = time.monotonic() + LEAVE_S
        while self._group.is_dir():
            try:
                self._group.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


class SharedBridge(Shared, Bridge):
    """A bridge that is confined from its start, together with its decoders."""

    def launch(self) -> None:
        """Start the process, and confine it at once.

        Raises:
            StackError: it cannot be confined; it does not run then.
        """
        super().launch()
        self.confine()


class SharedTriton(Shared, Triton):
    """A Triton to confine once it is ready: with a share, loading would take minutes."""

    def __init__(self, model_repository: Path, directory: Path, name: str) -> None:
        super().__init__(model_repository, directory)
        self.name = name
