"""The ids of a run's images: a number of the run, or where the file is. Pure."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Protocol

from wire.image import MAX_ID

MAX_DIGITS = 15
"""Digits of a number in an id: what a stranger wrote must not become a huge integer."""
_AGAIN = "#"
"""What stands before the number of a file's repetition: photo.jpg, photo.jpg#2, photo.jpg#3."""
_REPETITION = re.compile(rf"(.+){_AGAIN}([2-9]|[1-9][0-9]{{1,{MAX_DIGITS - 1}}})", re.DOTALL)
_ROOM = MAX_ID - len(_AGAIN) - MAX_DIGITS
_DIGEST = 12
"""Characters of the hash that tells files apart whose names cannot be ids as they are."""


class Names(Protocol):
    """Ids by the place of an image in its run, and back."""

    def id(self, sequence: int) -> str: ...

    def sequence(self, id: str) -> int | None:
        """None: no image of this run can have such an id."""
        ...


class RunNames:
    """ID-0, ID-1, ..."""

    def __init__(self, run_id: str) -> None:
        self._prefix = f"{run_id}-"

    def id(self, sequence: int) -> str:
        return f"{self._prefix}{sequence}"

    def sequence(self, id: str) -> int | None:
        number = id.removeprefix(self._prefix)
        if number == id or len(number) > MAX_DIGITS or not (number.isascii() and number.isdigit()):
            return None
        return int(number)


class FileNames:
    """The path of each file, with `#2` and so on where the files are sent again.

    Args:
        paths: relative to the folder, each once.
    """

    def __init__(self, paths: Sequence[PurePath]) -> None:
        self._ids = [file_id(path) for path in paths]
        self._places = {name: place for place, name in enumerate(self._ids)}

    def id(self, sequence: int) -> str:
        again, place = divmod(sequence, len(self._ids))
        return f"{self._ids[place]}{_AGAIN}{again + 1}" if again else self._ids[place]

    def sequence(self, id: str) -> int | None:
        if (place := self._places.get(id)) is not None:
            return place
        found = _REPETITION.fullmatch(id)
        if found is None or (place := self._places.get(found[1])) is None:
            return None
        return (int(found[2]) - 1) * len(self._ids) + place


def file_id(path: PurePath) -> str:
    """A path as an id: itself where it can be one, else as much of its end, made printable, and a
    hash. What is not UTF-8 or not printable is written as in `ls -b`: \\xff."""
    raw = os.fsencode(path.as_posix())
    text = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in raw.decode("utf-8", "backslashreplace")
    )
    if text.encode() == raw and len(raw) <= _ROOM and not _REPETITION.fullmatch(text):
        return text
    end = text.encode()[-(_ROOM - _DIGEST - 1) :].decode(errors="ignore")
    return f"{end}~{hashlib.sha256(raw).hexdigest()[:_DIGEST]}"
