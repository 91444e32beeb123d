"""The ids of a run's images: a number within the run, or the path of the file. Pure."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Protocol

from wire.image import MAX_ID

MAX_DIGITS = 15
"""Most digits of a number in an id: a stranger's text must not become a huge integer."""
_AGAIN = "#"
"""Text before the number of a file's repetition: photo.jpg, photo.jpg#2, photo.jpg#3."""
_REPETITION = re.compile(rf"(.+){_AGAIN}([2-9]|[1-9][0-9]{{1,{MAX_DIGITS - 1}}})", re.DOTALL)
_ROOM = MAX_ID - len(_AGAIN) - MAX_DIGITS
_DIGEST = 12
"""Characters of the hash that tells apart files whose names cannot be ids."""


class Names(Protocol):
    """Makes ids from the places of images in their run, and finds the places of ids."""

    def id(self, sequence: int) -> str: ...

    def sequence(self, id: str) -> int | None:
        """The place of the image with this id; None: no image of this run can have the id."""
        ...


class RunNames:
    """Ids of the form ID-0, ID-1, and so on."""

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
        paths: paths relative to the folder, each once.
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


def as_text(name: str) -> str:
    """The name of a file or folder as text; bytes that are not UTF-8 become \\xff, as in
    `ls -b`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def file_id(path: PurePath) -> str:
    """A path as an id: the path itself where possible; otherwise as much of its end as fits, made
    printable, and a hash. Bytes that are not UTF-8 or not printable become \\xff, as in `ls -b`."""
    raw = os.fsencode(path.as_posix())
    text = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in as_text(path.as_posix())
    )
    if text.encode() == raw and len(raw) <= _ROOM and not _REPETITION.fullmatch(text):
        return text
    end = text.encode()[-(_ROOM - _DIGEST - 1) :].decode(errors="ignore")
    return f"{end}~{hashlib.sha256(raw).hexdigest()[:_DIGEST]}"
