"""What the sections found, as it lies in a folder: one JSON file for each."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Section = Mapping[str, Any]
Found = Mapping[str, Section]
"""Sections by their name."""


def save(folder: Path, name: str, section: Section) -> None:
    """Write one section."""
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(section, indent=1) + "\n")


def read(folder: Path, names: Iterable[str]) -> Found:
    """The sections that there are."""
    return {
        name: json.loads(path.read_text())
        for name in names
        if (path := folder / f"{name}.json").exists()
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
