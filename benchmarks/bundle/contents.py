"""Gathers what the benchmark needs into folders, as they will be on the other machine."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from benchmarks.bundle.parts import without
from benchmarks.bundle.setup import PACKAGES, VERSION
from stack.errors import StackError
from stack.kafka import jars
from stack.paths import ROOT

PLATFORM = "x86_64-manylinux_2_35"
"""Triton's own package needs glibc 2.35, too."""
LOCK = ROOT / "requirements/demo.lock"
NOT_NEEDED = (
    # The machine has torch, so that nothing is served as ONNX.
    "flatbuffers", "onnx", "onnxruntime",
    # For the Python part of nvidia-pytriton and for Triton's client over HTTP, which are not used.
    "aiohappyeyeballs", "aiohttp", "aiosignal", "attrs", "brotli", "certifi", "frozenlist",
    "gevent", "geventhttpclient", "greenlet", "importlib-metadata", "lazy-importer", "multidict",
    "mypy-extensions", "propcache", "pyzmq", "setuptools", "sh", "typing-inspect", "wrapt", "yarl",
    "zipp", "zope-event", "zope-interface",
)  # fmt: skip
"""Packages of the demo that are left out, a fifth of the bundle."""
SKIPPED = re.compile(r"(^|/)(tests|__pycache__|include)/|\.(pyi|pxd|pyx|a|h|c)$")
"""Files of packages that nothing reads when they run."""
PYTHON_MODULE = "github.com/kluctl/go-embed-python@v0.0.0-3.12.3-20240415-1"
PYTHON_SUM = "h1:IX2O3LJUL0AjYsROGZ4aNENTEb3c/Ll/0b9Yb/8P61Q="
"""A Go module that carries a Python with its shared library, which needs no other file: Triton's
Python backend needs that library, and many machines' Python has none."""
JAVA_MODULES = (
    "java.base", "java.compiler", "java.desktop", "java.logging", "java.management", "java.naming",
    "java.net.http", "java.rmi", "java.scripting", "java.security.jgss", "java.security.sasl",
    "java.sql", "java.xml", "jdk.crypto.ec", "jdk.management", "jdk.net", "jdk.unsupported",
    "jdk.zipfs",
)  # fmt: skip
"""What a broker uses; of java.desktop, log4j uses java.beans."""
UNUSED_JAVA = (
    "legal", "bin/keytool", "bin/rmiregistry", "bin/jrunscript", "lib/libawt_xawt.so",
    "lib/libawt_headless.so", "lib/libfontmanager.so", "lib/libfreetype.so", "lib/libharfbuzz.so",
    "lib/libjavajpeg.so", "lib/libjsound.so", "lib/liblcms.so", "lib/libmlib_image.so",
    "lib/libsplashscreen.so",
)  # fmt: skip
NATIVE = re.compile(r"\.(so|dll|dylib|a|jnilib)$")
OURS = re.compile(r"linux/(amd64|x86_64)/", re.IGNORECASE)
NOT_OF_THE_PROJECT = (
    ".ci", "ansible", "benchmarks/results", "data/onnx", "deploy", "docs", "observability",
    "requirements", "tests",
)  # fmt: skip


class PackError(StackError):
    """A program that packing needs is missing or failed."""


def gather(scratch: Path) -> Mapping[str, Path]:
    """A folder for each archive, whose files lie as in the folder where the bundle is unpacked.

    Raises:
        StackError: something is missing, or could not be fetched.
    """
    steps: Mapping[str, Callable[[Path], None]] = MappingProxyType(
        {"python": _python, "packages": _packages, "java": _java, "kafka": _kafka,
         "project": _project}
    )  # fmt: skip
    trees = {}
    for name, step in steps.items():
        trees[name] = scratch / name
        trees[name].mkdir()
        step(trees[name])
    trees["triton"] = scratch / "triton"
    _move_triton(trees["packages"], trees["triton"])
    # Several come with debugging symbols. What is in *.libs was patched, and might not survive.
    modules = trees["packages"].rglob("*.so")
    run(["strip", "--strip-unneeded", *(one for one in modules if ".libs" not in str(one))])
    return trees


def run(argv: Sequence[str | Path], cwd: Path = ROOT) -> str:
    """The output of a program.

    Raises:
        PackError: it is not installed, or it failed; the text says which.
    """
    command = [str(one) for one in argv]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    except OSError as error:
        raise PackError(f"{command[0]} is needed to pack: {error.strerror}") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-1500:]
        raise PackError(f"{' '.join(command[:3])} failed:\n{said}")
    return done.stdout


def commit() -> str:
    """The commit of what is packed; `-dirty`: with changes."""
    return run(["git", "describe", "--always", "--dirty", "--exclude", "*"]).strip()


def _python(tree: Path) -> None:
    found = json.loads(run(["go", "mod", "download", "-json", PYTHON_MODULE], tree))
    if found["Sum"] != PYTHON_SUM:
        raise PackError(f"{PYTHON_MODULE} is not what it was: {found['Sum']}")
    library = f"lib/libpython{VERSION}.so.1.0"
    source = Path(found["Dir"]) / f"python/internal/data/linux-amd64/{library}.gz"
    target = tree / "python" / library
    target.parent.mkdir(parents=True)
    target.write_bytes(gzip.decompress(source.read_bytes()))
    # Debugging symbols are four fifths of it.
    run(["strip", "--strip-unneeded", target])


def _packages(tree: Path) -> None:
    lock = tree.with_suffix(".lock")
    lock.write_text(without(LOCK.read_text(), NOT_NEEDED))
    target = tree / PACKAGES
    run(
        [Path(sys.executable).with_name("uv"), "pip", "install", "-q", "--no-deps",
         "--only-binary", ":all:", "--require-hashes", "--link-mode", "copy", "--target", target,
         "--python-version", VERSION, "--python-platform", PLATFORM, "-r", lock]
    )  # fmt: skip
    shutil.rmtree(target / "bin", ignore_errors=True)
    for path in sorted(target.rglob("*")):
        if path.is_file() and SKIPPED.search(str(path.relative_to(target))):
            path.unlink()


def _move_triton(packages: Path, tree: Path) -> None:
    """Triton is half of all packages: an archive of its own is compressed beside the others."""
    source, target = packages / PACKAGES, tree / PACKAGES
    target.mkdir(parents=True)
    for path in [*source.glob("pytriton*"), *source.glob("nvidia_pytriton*")]:
        path.rename(target / path.name)
    for stub in (target / "pytriton/tritonserver/python_backend_stubs").iterdir():
        if stub.name != VERSION:
            shutil.rmtree(stub)
    # The library of another Python, for its stub.
    for library in (target / "nvidia_pytriton.libs").glob("libpython3*"):
        library.unlink()
    # Package installers remove the execute bit.
    (target / "pytriton/tritonserver/bin/tritonserver").chmod(0o755)


def _java(tree: Path) -> None:
    home = os.environ.get("JAVA_HOME")
    jlink = shutil.which("jlink", path=f"{home}/bin") if home else shutil.which("jlink")
    if jlink is None:
        raise PackError(
            "jlink is needed to pack a Java: it comes with a JDK of version 17 or newer"
        )
    target = tree / "java"
    run(
        [jlink, "--add-modules", ",".join(JAVA_MODULES), "--output", target, "--compress=0",
         "--strip-debug", "--no-header-files", "--no-man-pages"]
    )  # fmt: skip
    for name in UNUSED_JAVA:
        path = target / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _kafka(tree: Path) -> None:
    libs = Path(jars.class_path()).parent
    target = tree / "project" / libs.relative_to(ROOT)
    target.mkdir(parents=True)
    for jar in sorted(libs.glob("*.jar")):
        repack(jar, target / jar.name)


def repack(source: Path, target: Path) -> None:
    """Write a jar without compression, since what is around it compresses better, and without the
    native libraries of other systems."""
    with (
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new,
    ):
        for entry in old.infolist():
            name = entry.filename
            foreign = NATIVE.search(name) is not None and OURS.search(name) is None
            if not entry.is_dir() and not foreign:
                new.writestr(zipfile.ZipInfo(name), old.read(entry))


def _project(tree: Path) -> None:
    """The files of the working tree that git knows or would take, without pages and tests."""
    excluded = [f":(exclude){name}" for name in NOT_OF_THE_PROJECT]
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."]
    for name in filter(None, run([*command, *excluded]).split("\0")):
        source, target = ROOT / name, tree / "project" / name
        if not source.is_file():  # deleted, and not yet committed
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
