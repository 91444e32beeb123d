"""A bridge with a share of a core, as containers have it: by Linux's control groups."""

from pathlib import Path

from stack.bridge import Bridge
from stack.errors import StackError

SHARE = 0.25
"""Of a core, for each bridge: small enough that the broker and Triton find room beside several."""
PERIOD_US = 100_000
ROOT = Path("/sys/fs/cgroup")


class SharedBridge(Bridge):
    """Runs for `SHARE` of each tenth of a second, its decoders included."""

    def launch(self) -> None:
        """Start it, confined.

        Raises:
            StackError: it cannot be confined; it does not run then.
        """
        super().launch()
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
        # Its threads, and the decoders that it starts from now on.
        (group / "cgroup.procs").write_text(str(self.pid))

    @property
    def _group(self) -> Path:
        # The older kind has a hierarchy for each controller.
        older = ROOT / "cpu"
        return (older if older.is_dir() else ROOT) / self.name

    def _clean_up(self) -> None:
        super()._clean_up()
        if self._group.is_dir():
            self._group.rmdir()
