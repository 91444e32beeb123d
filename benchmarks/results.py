"""The results of the sections in a folder: one JSON file for each section, below `raw/`."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stack.errors import StackError

Section = Mapping[str, Any]
PARTIAL = ".partial"
RAW = "raw"
"""Folder of the raw results, beside the page and the plots."""
Found = Mapping[str, Section]
"""Sections by their name."""


def path_of(folder: Path, name: str) -> Path:
    """Where a section's results are; its name may begin with a device's folder: cuda/photos."""
    section = folder / name
    return section.parent / RAW / f"{section.name}.json"


def save(folder: Path, name: str, section: Section) -> None:
    """Write the results of one section."""
    path = path_of(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(section, indent=1) + "\n")


class Kept:
    """One section's results while they come: in a file of their own until they are complete.

    A run that is stopped leaves the results of the last run unchanged, and its own in that file.

    Args:
        about: facts that are added to each result.
    """

    def __init__(self, folder: Path, name: str, about: Section) -> None:
        self._folder = folder
        self._name = name
        self._about = about
        self._measured = False

    @property
    def _path(self) -> Path:
        return path_of(self._folder, self._name + PARTIAL)

    def partial(self, result: Section) -> None:
        """Keep the results so far."""
        self._measured = True
        save(self._folder, self._name + PARTIAL, {**result, **self._about, "unfinished": True})

    def finish(self, result: Section) -> None:
        """Keep the complete results in place of those of the last run.

        Raises:
            StackError: there are none, since nothing was kept before.
        """
        if not self._measured:
            reasons = "; ".join(dict.fromkeys(result.get("failures", {}).values()))
            raise StackError(f"nothing was measured ({reasons}); earlier results are unchanged")
        save(self._folder, self._name, {**result, **self._about})
        self._path.unlink(missing_ok=True)

    def where(self) -> str:
        """The place of the results of a run that was stopped, for the person who stopped it."""
        return f"what there is: {self._path}" if self._path.exists() else "nothing was measured yet"


def read(folder: Path, names: Iterable[str]) -> Found:
    """The sections that have results; unfinished ones only where there is no complete one."""
    # The complete results come last and so replace the unfinished ones.
    return {
        name: json.loads(path.read_text())
        for name in names
        for path in (path_of(folder, name + PARTIAL), path_of(folder, name))
        if path.exists()
    }


def windows(section: Section | None, name: str) -> list[Mapping[str, Any]]:
    """The windows of one measurement, one for each repeat; empty where it was not taken."""
    return [] if section is None else list(section["measurements"].get(name, ()))


def rates(section: Section | None, name: str) -> list[float]:
    """Images/s of each repeat."""
    return [one["rate"] for one in windows(section, name)]


def points(section: Section, subject: str, share: float) -> list[Mapping[str, Any]]:
    """The repeats of one point of the latency curve."""
    return [one for one in section["points"] if one["subject"] == subject and one["share"] == share]


def pairs(
    section: Section | None, first: str, second: str, share: float
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """One point of two subjects, from each repeat that has both."""
    if section is None:
        return []
    others = {one["repeat"]: one for one in points(section, second, share)}
    return [
        (one, others[one["repeat"]])
        for one in points(section, first, share)
        if one["repeat"] in others
    ]
