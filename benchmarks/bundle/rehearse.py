"""Go through all that a machine without a network does with a bundle, on this machine.

Each step runs in a network namespace with nothing but a loopback, in an empty folder. The parts
come one after the other. The device is the CPU.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.bundle.pack import COMMON, PROGRAM, size_of
from benchmarks.bundle.parts import MIB
from cli.app import fail
from stack.errors import StackError
from stack.paths import ROOT

WITHOUT_NETWORK = ("unshare", "--net")
AS_A_USER = ("--map-root-user",)
LOOPBACK = 'ip link set lo up && exec "$@"'
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CHECK_S, BENCH_S = 300, 300
"""A CPU needs longer for them than a GPU."""
STEP_S = 600.0


def main(
    python: Annotated[
        str, typer.Option(help="A Python 3.12 that has torch, as the other machine has it.")
    ],
    bundle: Annotated[Path, typer.Option(help="What `make bundle` wrote.")] = ROOT
    / "results/bundle",
    keep: Annotated[bool, typer.Option(help="Leave the folder in which it was done.")] = False,
) -> None:
    """Rehearse; prints each step's seconds, and writes them beside the bundle."""
    if not any(bundle.glob("part*")):
        fail(StackError(f"no bundle in {bundle}: `make bundle` writes one"))
    scratch = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=bundle.parent))
    try:
        found = rehearse(bundle.absolute(), scratch, python)
    except StackError as error:
        fail(error)
    finally:
        if not keep:
            shutil.rmtree(scratch)
    (bundle.parent / "rehearsal.json").write_text(json.dumps(found, indent=1) + "\n")


def rehearse(bundle: Path, scratch: Path, python: str) -> list[dict[str, object]]:
    """Do every step; each with its seconds.

    Raises:
        StackError: a step failed.
    """
    parts = sorted(bundle.glob("part*"))
    there = scratch / "bundle"
    shutil.copytree(bundle / COMMON, there / COMMON)
    found_python = shutil.which(python)
    if found_python is None:
        raise StackError(f"{python}: no such program")
    # Every step runs in another folder.
    python = str(Path(found_python).absolute())
    program = (python, str(there / COMMON / PROGRAM), "--home", str(scratch / "home"))
    found: list[dict[str, object]] = []

    def step(name: str, *arguments: str) -> None:
        took = run([*program, *arguments], scratch)
        found.append({"step": name, "seconds": round(took, 1)})
        typer.echo(f"== {name}: {took:.1f} s")

    for part in parts:
        # One after the other: no trip has room for more.
        shutil.copytree(part, there / part.name)
        step(f"install {part.name}, {(size_of(part)) / MIB:.1f} MiB", "install")
        shutil.rmtree(there / part.name)
    step("check", "check", "--device", "cpu", "--limit", str(CHECK_S))
    step("bench", "bench", "--device", "cpu", "--only", "throughput", "--repeats", "1",
         "--budget", str(BENCH_S))  # fmt: skip
    for path in sorted((scratch / "out").rglob("*")):
        if path.is_file():
            typer.echo(f"   {path.relative_to(scratch)}: {path.stat().st_size:,} bytes")
    return found


def run(command: Sequence[str], scratch: Path) -> float:
    """Run a command without a network and with no more than a bare environment; its seconds.

    Raises:
        StackError: it failed, or the namespace could not be made.
    """
    user = () if os.geteuid() == 0 else AS_A_USER
    isolated = [*WITHOUT_NETWORK, *user, "sh", "-c", LOOPBACK, "sh", *command]
    environment = {"PATH": PATH, "HOME": str(scratch), "OUT": str(scratch / "out")}
    begin = time.monotonic()
    try:
        done = subprocess.run(
            isolated, cwd=scratch, env=environment, timeout=STEP_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        raise StackError(f"{isolated[0]} is needed to rehearse: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise StackError(f"{' '.join(command[2:])} was not done in {STEP_S:.0f} s") from None
    if done.returncode != 0:
        raise StackError(f"{' '.join(command[2:])} ended with status {done.returncode}")
    return time.monotonic() - begin


if __name__ == "__main__":
    typer.run(main)
