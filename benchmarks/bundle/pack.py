"""Pack what the benchmark needs on a GPU machine without a network, in parts of a limited size."""

import io
import lzma
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.bundle import contents, program
from benchmarks.bundle.parts import MIB, Piece, divide, manifest
from benchmarks.bundle.unpack import write_manifest
from cli.app import fail
from stack.errors import StackError
from stack.paths import ROOT

COMMON = "common"
PROGRAM = "bundle.py"
MODULES = ("__init__", "bundle/__init__", "bundle/machine", "bundle/setup", "bundle/steps",
           "bundle/unpack")  # fmt: skip
"""Of `benchmarks`, those that the program consists of."""
COMMON_MIB = 0.25
"""Room that is kept in each part for the folder that travels with it."""
DATE = 1_600_000_000
"""Time of all files, so that the same files give the same archive."""
FILTERS = [
    {"id": lzma.FILTER_X86},
    {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 64 * MIB},
]


def main(
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the bundle.")] = ROOT
    / "results/bundle",
    part_mib: Annotated[
        float,
        typer.Option(
            min=1, metavar="N", help="Largest size of a part with what all parts have in common."
        ),
    ] = 52.0,
) -> None:
    """Write FOLDER/part1, part2, ... and FOLDER/common, which travels with each of them.

    Packs the packages of the demo for Python 3.12, a Java, Kafka, Triton and the project. Not
    Python with torch, which has to be on the machine.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="bundle-") as scratch:
            for line in pack(Path(scratch), output, int((part_mib - COMMON_MIB) * MIB)):
                typer.echo(line)
    except StackError as error:
        fail(error)


def pack(scratch: Path, output: Path, limit: int) -> Iterator[str]:
    """Pack into parts of at most `limit` bytes; yields lines for people.

    Raises:
        StackError: something is missing, or could not be fetched.
    """
    yield "gathering"
    trees = contents.gather(scratch)
    unpacked = {name: size_of(tree) for name, tree in trees.items()}
    yield "compressing: some minutes"
    archives = {name: scratch / f"{name}.tar.xz" for name in trees}
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # lzma runs without Python's lock
        list(pool.map(compress, trees.values(), archives.values()))
    for name, archive in archives.items():
        size = archive.stat().st_size
        yield f"  {name}: {unpacked[name] / MIB:.1f} MiB, packed {size / MIB:.1f} MiB"
    shutil.rmtree(output, ignore_errors=True)
    pieces = divide({name: path.stat().st_size for name, path in archives.items()}, limit)
    written = map(partial(write_piece, archives, output), pieces)
    listed = manifest(contents.commit(), zip(pieces, written, strict=True), unpacked)
    write_program(output / COMMON)
    write_manifest(output, listed)
    for folder in sorted(output.iterdir()):
        yield f"{folder}: {size_of(folder) / MIB:.1f} MiB"


def write_program(common: Path) -> None:
    """Write the program that runs on the other machine."""
    for name in MODULES:
        target = common / "benchmarks" / f"{name}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / "benchmarks" / f"{name}.py", target)
    shutil.copy2(program.__file__, common / PROGRAM)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def compress(folder: Path, target: Path) -> None:
    """Write the files of a folder as one archive, with files of one kind beside each other."""
    paths = sorted(folder.rglob("*"), key=lambda path: (path.suffix, str(path)))
    with (
        lzma.open(target, "wb", filters=FILTERS) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        for path in paths:
            if path.is_symlink() or path.is_file():
                archive.addfile(*_entry(archive, folder, path))


def _entry(
    archive: tarfile.TarFile, folder: Path, path: Path
) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    info = archive.gettarinfo(path, str(path.relative_to(folder)))
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = DATE
    if info.issym():
        return info, None
    # A hard link would need the other file before it.
    info.type, info.size = tarfile.REGTYPE, path.stat().st_size
    return info, io.BytesIO(path.read_bytes())


def write_piece(archives: dict[str, Path], output: Path, piece: Piece) -> bytes:
    """Write one piece into its part; returns its bytes."""
    with archives[piece.archive].open("rb") as archive:
        archive.seek(piece.offset)
        data = archive.read(piece.size)
    target = output / piece.file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return data


if __name__ == "__main__":
    typer.run(main)
