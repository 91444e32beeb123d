"""A machine for the roles to work on: a Debian root booted with real systemd by systemd-nspawn.

It has its own network with nothing but loopback, so packages can only come from the lab's own apt
repository. Ansible reaches it through community.general.chroot, with ``nsenter`` in chroot's place.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

BOOT_TIMEOUT_S = 60
# In chroot's place: the same arguments, but into the booted machine, whose init is nspawn's child.
_ENTER = """#!/bin/sh
root=$1; shift
nspawn=$(cat "$root.pid")
init=$(cut -d' ' -f1 "/proc/$nspawn/task/$nspawn/children")
exec nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup --root --wd \\
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
  HOME=/root LANG=C.UTF-8 "$@"
"""


# Told to keep its unit, nspawn leaves reboots to whoever started it, and asks for one with 133.
_RUN = """
trap 'stopping=1; kill "$nspawn"' TERM
while :; do
  "$@" & nspawn=$!
  echo "$nspawn" >"$PID_FILE"
  wait "$nspawn"; code=$?
  if [ -n "$stopping" ]; then wait "$nspawn"; exit 0; fi
  [ "$code" -eq 133 ] || exit "$code"
done
"""


@dataclass
class Machine:
    """One booted root file system. ``shared`` is visible inside, read-only, as /srv/lab."""

    root: Path
    shared: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def enter(self) -> Path:
        """The program that stands in for chroot(8)."""
        return self.root.with_suffix(".enter")

    @property
    def init(self) -> int:
        """Process id, as seen from outside, of its systemd."""
        nspawn = self.root.with_suffix(".pid").read_text().strip()
        return int(Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()[0])

    def boot(self) -> None:
        """Start it and wait until systemd has finished booting."""
        self.root.with_suffix(".pid").unlink(missing_ok=True)
        self.enter.write_text(_ENTER)
        self.enter.chmod(0o755)
        with self.root.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "sh",
                    "-c",
                    _RUN,
                    "sh",
                    "systemd-nspawn",
                    "--boot",
                    "--quiet",
                    f"--directory={self.root}",
                    f"--machine={self.root.name}",
                    "--register=no",
                    "--keep-unit",
                    "--console=pipe",
                    "--private-network",
                    # What Docker needs inside: mounts, namespaces, keyrings, BPF device filters.
                    "--capability=all",
                    "--system-call-filter=@keyring bpf",
                    f"--bind-ro={self.shared}:/srv/lab",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ
                | {
                    "PID_FILE": str(self.root.with_suffix(".pid")),
                    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
                },
            )
        self.wait_booted()

    def wait_booted(self) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        state = ""
        while time.monotonic() < deadline:
            state = self.run("systemctl", "is-system-running", check=False).strip()
            if state in {"running", "degraded"}:
                return
            time.sleep(0.2)
        raise TimeoutError(
            f"{self.root.name} did not boot in {BOOT_TIMEOUT_S} s (last state: {state!r}); "
            f"see {self.root.with_suffix('.log')}"
        )

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside; its standard output."""
        done = subprocess.run(
            [str(self.enter), str(self.root), *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def succeeds(self, *command: str) -> bool:
        """Whether a command inside exits with 0."""
        return (
            subprocess.run(
                [str(self.enter), str(self.root), *command],
                check=False,
                capture_output=True,
                timeout=120,
            ).returncode
            == 0
        )

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.root / path.lstrip("/"))

    def halt(self) -> None:
        """Shut it down as a power button does."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.kill(int(self.root.with_suffix(".pid").read_text()), signal.SIGKILL)
            self._process.wait()
        self._process = None

    def reboot(self) -> None:
        self.halt()
        self.boot()

    def destroy(self) -> None:
        self.halt()
        shutil.rmtree(self.root)
        for suffix in (".enter", ".pid", ".log"):
            self.root.with_suffix(suffix).unlink(missing_ok=True)


def clone(base: Path, root: Path, shared: Path) -> Machine:
    """A machine, not yet booted, from a copy of ``base``."""
    copy_tree(base, root)
    return Machine(root, shared)


def copy_tree(source: Path, target: Path) -> None:
    """Copy with owners, modes and device nodes, sharing blocks where the file system can."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)


def missing_tools(tools: Sequence[str]) -> list[str]:
    return [tool for tool in tools if shutil.which(tool) is None]
