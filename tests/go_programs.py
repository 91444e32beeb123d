"""Programs that tests need and that Go builds from their modules."""

import os
import subprocess
from pathlib import Path


class GoError(Exception):
    """A program could not be built; the text says why."""


def program(cache: Path, module: str, version: str) -> Path:
    """Where the program of a module is in a cache, or will be."""
    return cache / version / Path(module).name


def install(cache: Path, module: str, version: str, timeout_s: float | None = None) -> Path:
    """Build the program of a module, unless it is in the cache already; returns where it is.

    Raises:
        GoError: Go is not installed, or the program could not be built.
    """
    path = program(cache, module, version)
    if path.is_file():
        return path
    try:
        # Outside any module, whose go.mod would have a say.
        done = subprocess.run(
            ["go", "install", "-ldflags=-s -w", f"{module}@{version}"], cwd="/",
            env={**os.environ, "GOBIN": str(path.parent)}, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except OSError as error:
        raise GoError(f"go is not installed ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise GoError(f"go install {module}@{version} took over {timeout_s:.0f} s") from None
    if done.returncode:
        raise GoError(f"go install {module}@{version}: {done.stderr.strip()[-300:]}")
    return path
