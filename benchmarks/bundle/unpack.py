"""Unpacks the parts of a bundle, in whichever order they come."""

import hashlib
import io
import json
import lzma
import shutil
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

from benchmarks.bundle.steps import BundleError, Facts

MANIFEST = "common/bundle.json"
UNPACKED = ("incoming", "java", "project", "python", "unpacked")
"""The folders that come from a bundle."""
READ_BYTES = 1 << 20


class Listed(TypedDict):
    """A piece of an archive; `file` is its path in the bundle."""

    file: str
    size: int
    sha256: str


class Archive(TypedDict):
    """An archive; `unpacked` is in bytes."""

    unpacked: int
    pieces: list[Listed]


class Manifest(TypedDict):
    """What a bundle consists of."""

    commit: str
    archives: dict[str, Archive]


class Joined(io.RawIOBase):
    """Reads files one after the other, as if they were one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = iter(paths)
        self._file: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._file is None:
                path = next(self._paths, None)
                if path is None:
                    return 0
                self._file = path.open("rb")
            data = self._file.read(len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)
            self._file.close()
            self._file = None


def read_manifest(bundle: Path) -> Manifest:
    """The list of the bundle's pieces.

    Raises:
        BundleError: it is not there.
    """
    try:
        found: Manifest = json.loads((bundle / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise BundleError(f"{bundle / MANIFEST} cannot be read: {error}") from None
    return found


def write_manifest(bundle: Path, manifest: Manifest) -> None:
    """Write the list of the bundle's pieces."""
    (bundle / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def bundle_id(manifest: Manifest) -> str:
    """What distinguishes a bundle from others."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def missing_parts(manifest: Manifest, home: Path) -> list[str]:
    """The parts that have not come yet."""
    return sorted(
        {
            Path(piece["file"]).parent.name
            for name, archive in manifest["archives"].items()
            if not _mark(home, name).exists()
            for piece in archive["pieces"]
            if not _kept(home, piece).exists()
        }
    )


def unpack(manifest: Manifest, bundle: Path, home: Path) -> Facts:
    """Unpack each archive that is complete, and keep the pieces of others for later.

    Raises:
        BundleError: a piece is damaged, no part is here, or the disk has no room.
    """
    identity, known = bundle_id(manifest), home / "bundle"
    if known.exists() and known.read_text() != identity:
        for name in UNPACKED:  # from another bundle
            shutil.rmtree(home / name, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    archives = manifest["archives"]
    todo = {name: one for name, one in archives.items() if not _mark(home, name).exists()}
    wanted = sum(one["unpacked"] + sum(p["size"] for p in one["pieces"]) for one in todo.values())
    free = shutil.disk_usage(home).free
    if wanted > free:
        raise BundleError(
            f"{home} has {free >> 20} MiB left, {wanted >> 20} are needed: name another --home"
        )
    known.write_text(identity)
    found = {
        name: [_take(piece, bundle, home) for piece in archive["pieces"]]
        for name, archive in todo.items()
    }
    if todo and not any(path for paths in found.values() for path in paths):
        raise BundleError(f"there is no part in {bundle}: put one beside `common`")
    complete = {
        name: [path for path in paths if path is not None]
        for name, paths in found.items()
        if None not in paths
    }
    with ThreadPoolExecutor(max(1, len(complete))) as pool:
        list(pool.map(lambda name: _extract(name, complete[name], home), complete))
    return {"unpacked": sorted(complete), "incomplete": sorted(todo.keys() - complete.keys())}


def _mark(home: Path, archive: str) -> Path:
    """It exists when the archive is unpacked."""
    return home / "unpacked" / archive


def _kept(home: Path, piece: Listed) -> Path:
    return home / "incoming" / Path(piece["file"]).name


def _take(piece: Listed, bundle: Path, home: Path) -> Path | None:
    """The piece, copied and checked, if it is here or was here before."""
    kept, source = _kept(home, piece), bundle / piece["file"]
    if kept.exists():
        return kept
    if not source.is_file():
        return None
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != piece["sha256"]:
        raise BundleError(f"{source} is damaged: copy it to this machine again")
    kept.parent.mkdir(exist_ok=True)
    unfinished = kept.with_name(f"{kept.name}.unfinished")
    unfinished.write_bytes(data)
    return unfinished.rename(kept)


def _extract(name: str, paths: Sequence[Path], home: Path) -> None:
    joined = io.BufferedReader(Joined(paths), READ_BYTES)
    with lzma.open(joined) as data, tarfile.open(fileobj=data, mode="r|") as files:
        files.extractall(home, filter="data")
    mark = _mark(home, name)
    mark.parent.mkdir(exist_ok=True)
    mark.touch()
    for path in paths:
        path.unlink()
