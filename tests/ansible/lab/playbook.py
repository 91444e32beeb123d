"""Runs ansible-playbook as a user does, and reads what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
# For the whole of gpu.yaml on a machine with other work.
TIMEOUT_S = 3000


@dataclass(frozen=True)
class Outcome:
    """One run: exit code, all output, and the recap's counts added up over hosts."""

    returncode: int
    output: str

    def _count(self, name: str) -> int:
        return sum(int(n) for n in re.findall(rf"\b{name}=(\d+)", self.output))

    @property
    def changed(self) -> int:
        return self._count("changed")

    @property
    def words(self) -> str:
        """The output with all white space as single blanks: messages are wrapped for reading."""
        return " ".join(self.output.split())

    def changed_nothing(self) -> None:
        """Fails with the tasks that changed something."""
        self.succeeded()
        task, tasks = "", []
        for line in self.output.splitlines():
            if line.startswith(("TASK ", "RUNNING HANDLER ")):
                task = line
            elif line.startswith("changed: "):
                tasks.append(f"{task} {line}")
        assert not tasks, "\n".join(tasks)
        assert self.changed == 0

    def succeeded(self) -> Outcome:
        assert self.returncode == 0, self.output[-6000:]
        return self

    def failed(self) -> Outcome:
        assert self.returncode != 0, self.output[-6000:]
        return self


def run_playbook(
    playbook: str,
    inventory: Path,
    *arguments: str,
    variables: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run ``ansible/<playbook>``; never raises for a failing play."""
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "--inventory",
        str(inventory),
        str(ROOT / "ansible" / playbook),
        *arguments,
    ]
    if variables:
        # Numbers and flags as text, as "-e name=value" gives them.
        given = {
            name: str(value).lower() if isinstance(value, bool | int) else value
            for name, value in variables.items()
        }
        command += ["--extra-vars", json.dumps(given)]
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANSIBLE_", "OS_"))
    }
    done = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        stdin=subprocess.DEVNULL,
        env=env
        | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        | dict(environment or {}),
    )
    return Outcome(done.returncode, done.stdout)
