"""What the sections found, as it lies in a folder: one JSON file for each, below `raw/`."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Section = Mapping[str, Any]
PARTIAL = ".partial"
RAW = "raw"
"""Beside the page and the figures that people read."""
Found = Mapping[str, Section]
"""Sections by their name."""


def path_of(folder: Path, name: str) -> Path:
    """Where a section's results are; its name may begin with a device's folder: cuda/photos."""
    section = folder / name
    return section.parent / RAW / f"{section.name}.json"


def save(folder: Path, name: str, section: Section) -> None:
    """Write one section."""
    path = path_of(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(section, indent=1) + "\n")


class Kept:
    """One section's results while they come: in a file of their own until they are all there.

    A run that is stopped leaves the results of the run before as they were, and its own beside.

    Args:
        about: goes with each of them.
    """

    def __init__(self, folder: Path, name: str, about: Section) -> None:
        self._folder = folder
        self._name = name
        self._about = about

    @property
    def _path(self) -> Path:
        return path_of(self._folder, self._name + PARTIAL)

    def partial(self, result: Section) -> None:
        """Keep what there is so far."""
        save(self._folder, self._name + PARTIAL, {**result, **self._about, "unfinished": True})

    def finish(self, result: Section) -> None:
        """Keep all of it, in place of the run's before."""
        save(self._folder, self._name, {**result, **self._about})
        self._path.unlink(missing_ok=True)

    def where(self) -> str:
        """What a run that is stopped leaves, for whoever stopped it."""
        return f"what there is: {self._path}" if self._path.exists() else "nothing was measured yet"


def read(folder: Path, names: Iterable[str]) -> Found:
    """The sections that there are; unfinished ones where there is nothing else."""
    # The whole one comes last, in place of the other.
    return {
        name: json.loads(path.read_text())
        for name in names
        for path in (path_of(folder, name + PARTIAL), path_of(folder, name))
        if path.exists()
    }


def windows(section: Section | None, name: str) -> list[Mapping[str, Any]]:
    """Each repeat of one measurement; empty where it was not taken."""
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
