"""Filters that turn a project's files into a release: what it holds, and its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypedDict

from ansible.errors import AnsibleFilterError

# Written beside the sources by tools; never part of a release.
_NOT_SHIPPED = {"__pycache__", ".git", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".DS_Store"}


class ReleaseFile(TypedDict):
    path: str
    sha256: str


def release_files(root: str, paths: Iterable[str]) -> list[ReleaseFile]:
    """Every file under ``paths``, relative to ``root``, with its SHA-256.

    Raises where a path is missing: a release with a hole in it would fail on the node instead.
    """
    base = Path(root)
    files: set[Path] = set()
    for path in paths:
        start = base / path
        if start.is_file():
            files.add(start)
        elif start.is_dir():
            files.update(
                f for f in start.rglob("*") if f.is_file() and not _NOT_SHIPPED & set(f.parts)
            )
        else:
            raise AnsibleFilterError(
                f"{start} does not exist: correct the role's list of files to ship, "
                "or the directory they are taken from"
            )
    return [
        ReleaseFile(
            path=file.relative_to(base).as_posix(),
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        )
        for file in sorted(files)
    ]


def release_name(content: Any) -> str:
    """Twelve hexadecimal digits that name ``content``; the same content has the same name."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_files": release_files, "release_name": release_name}
