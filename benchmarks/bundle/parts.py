"""How archives are divided into parts, and the list of all pieces that travels with each. Pure."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.bundle.unpack import Archive, Listed, Manifest

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive bytes of one archive, which are a file in one part.

    Attributes:
        part: number of the part, from 1.
        number: place among the archive's pieces, from 0.
        offset, size: in bytes of the archive.
    """

    part: int
    archive: str
    number: int
    offset: int
    size: int

    @property
    def file(self) -> str:
        """Its path in the bundle."""
        return f"part{self.part}/{self.archive}.tar.xz.{self.number}"


def divide(sizes: Mapping[str, int], limit: int) -> list[Piece]:
    """Fill as few parts as possible with archives, one after the other, and all parts alike.

    A part that is full ends within an archive.

    Args:
        sizes: bytes of each archive by its name.
        limit: most bytes of a part.

    Raises:
        ValueError: the limit leaves no room.
    """
    if limit <= 0:
        raise ValueError("a part has no room for anything")
    total = sum(sizes.values())
    full = math.ceil(total / max(1, math.ceil(total / limit)))
    pieces: list[Piece] = []
    part, free = 1, full
    for archive, size in sizes.items():
        offset = number = 0
        while offset < size:
            if free == 0:
                part, free = part + 1, full
            taken = min(free, size - offset)
            pieces.append(Piece(part, archive, number, offset, taken))
            offset, number, free = offset + taken, number + 1, free - taken
    return pieces


def manifest(
    commit: str, pieces: Iterable[tuple[Piece, bytes]], unpacked: Mapping[str, int]
) -> Manifest:
    """The list of all pieces.

    Args:
        pieces: each with its bytes.
        unpacked: bytes of each archive's files.
    """
    archives: dict[str, Archive] = {
        name: {"unpacked": size, "pieces": []} for name, size in unpacked.items()
    }
    for piece, data in pieces:
        digest = hashlib.sha256(data).hexdigest()
        listed: Listed = {"file": piece.file, "size": piece.size, "sha256": digest}
        archives[piece.archive]["pieces"].append(listed)
    return {"commit": commit, "archives": archives}


def without(lock: str, names: Iterable[str]) -> str:
    """A lock file without the entries of these packages.

    Raises:
        ValueError: it has no entry of one of them.
    """
    left = set(names)
    kept: list[str] = []
    keep = True
    for line in lock.splitlines(keepends=True):
        if line[:1].isalnum():
            name = line.partition("==")[0]
            keep = name not in names
            left.discard(name)
        if keep:
            kept.append(line)
    if left:
        raise ValueError(f"no entry in the lock file: {', '.join(sorted(left))}")
    return "".join(kept)
