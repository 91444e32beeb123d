"""Reads the values of the options that describe a network."""

import re
from pathlib import Path

from exporter.errors import ArgumentError

MAX_SIDE = 16384
MAX_LABELS = 1_000_000


def read_name(name: str) -> str:
    """Check a model's name, which is also the name of a folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
        raise ArgumentError(
            f"a model's name is 1 to 200 letters, digits, dots, underscores and hyphens, not "
            f"{name[:200]!r}"
        )
    return name


def read_size(text: str) -> tuple[int, int]:
    """Height and width from a text such as 224x224."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    sides = [int(side) for side in found.groups()] if found else []
    if not sides or not all(0 < side <= MAX_SIDE for side in sides):
        raise ArgumentError(f"--size is HEIGHTxWIDTH in pixels, such as 224x224, not {text[:40]!r}")
    return sides[0], sides[1]


def read_numbers(flag: str, text: str, channels: int) -> tuple[float, ...]:
    """One number for each channel, or one number for all."""
    wanted = "three numbers R,G,B, such as 0.485,0.456,0.406, or one" if channels == 3 else "one"
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, channels):
        raise ArgumentError(f"{flag} is {wanted} for all, not {text[:60]!r}")
    if flag == "--std" and not all(value > 0 for value in values):
        raise ArgumentError(f"--std divides: each must be above 0, not {text[:60]!r}")
    return values


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names, one on each line, in the order of the network's outputs."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"no labels can be read from {path}: {error}") from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names or len(names) > MAX_LABELS or not all(names):
        raise ArgumentError(f"{path} has to have a class name on each line, and no empty line")
    return tuple(names)
