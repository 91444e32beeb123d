"""Writes files into a model repository: completely or not at all, and only if they changed."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from exporter.errors import ExportError

RECORD = "export.json"
"""Name of the file that records a model's inputs and the digests of its files. TorchScript archives
of the same module differ byte by byte, so inputs are compared, not outputs."""


def is_current(directory: Path, version: int, made_from: Mapping[str, object]) -> bool:
    """Whether this version was made from the same inputs, and every file is unchanged since."""
    try:
        record = json.loads((directory / str(version) / RECORD).read_text())
        files: dict[str, str] = record["files"]
        return bool(record["made_from"] == made_from) and all(
            _sha256(directory / name) == digest for name, digest in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def require_writable(repository: Path) -> None:
    """Check that files can be written there, before the minutes that an export may take.

    Raises:
        ExportError: they cannot.
    """
    try:
        place = next(one for one in (repository, *repository.absolute().parents) if one.exists())
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise ExportError(f"can't write {repository}: {error.strerror}") from None


def install(
    directory: Path, version: int, files: Mapping[str, Path], made_from: Mapping[str, object]
) -> None:
    """Put `files` (path inside the model's directory -> file to copy) in place, in that order.

    Every file is written beside its place first, and only then are all renamed one after another:
    a full disk changes nothing. The record is last, so that an export which is interrupted between
    two renames is not taken for a complete one.

    Raises:
        ExportError: the folder cannot be written.
    """
    record = f"{version}/{RECORD}"
    digests = {name: _sha256(source) for name, source in files.items()}
    text = json.dumps({"made_from": made_from, "files": digests}, indent=2) + "\n"
    folders = dict.fromkeys((directory / name).parent for name in (record, *files))
    created = [folder for folder in (directory.parent, directory, *folders) if not folder.exists()]
    staged: list[tuple[Path, Path]] = []
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for name in (*files, record):
            target = directory / name
            beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
            staged.append((beside, target))
            if name == record:
                beside.write_text(text)
            else:
                shutil.copyfile(files[name], beside)
            _sync(beside)
        for beside, target in staged:
            beside.replace(target)
    except OSError as error:
        for beside, _ in staged:
            beside.unlink(missing_ok=True)
        for folder in reversed(created):
            with contextlib.suppress(OSError):  # not empty: a file was installed there
                folder.rmdir()
        raise ExportError(f"can't write {directory}: {error}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
