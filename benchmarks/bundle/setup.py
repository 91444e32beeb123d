"""Sets up what was unpacked: the machine's torch, the driver's libraries, Java."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.bundle.steps import BundleError, Facts

VERSION = "3.12"
"""The Python for which everything is packed."""
PYTHON, JAVA = "venv/bin/python3", "java/bin/java"
PACKAGES = f"python/lib/python{VERSION}/site-packages"
IMPORT_S, JAVA_S, LOOK_S = 90, 60, 15
"""Seconds that each of them may take; the first import of torch reads gigabytes."""
LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1")
"""The driver's libraries, which Triton opens while it runs."""
DRIVERS = "/usr/local/nvidia"
"""Where containers are often given the driver, in folders that the linker does not know."""
HOSTS = "hosts"
_FACTS = """
import json, os, sys
from importlib.util import find_spec
from pathlib import Path
real = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
found = {name: find_spec(name) for name in ("torch", "torchvision")}
folders = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
folders += [str(Path(one.origin).parents[1]) for one in found.values() if one]
print(json.dumps({"version": sys.version.split()[0], "folders": list(dict.fromkeys(folders)),
                  "real": real, "missing": [name for name in found if not found[name]]}))
"""
_LIBPYTHON = """
import json
from find_libpython import find_libpython
print(json.dumps({"libpython": find_libpython()}))
"""
_VERSIONS = """
import json, sys
import confluent_kafka, grpc, numpy, orjson, PIL, pydantic, torch, torchvision, tritonclient.grpc
assert torch.from_numpy(numpy.ones(3, numpy.uint8)).numpy().sum() == 3
print(json.dumps({"python": sys.version.split()[0], "torch": torch.__version__,
                  "torchvision": torchvision.__version__, "numpy": numpy.__version__,
                  "cuda": torch.version.cuda, "torch sees a gpu": torch.cuda.is_available()}))
"""


def machine(home: Path) -> Facts:
    """What kind of machine it is."""
    smi = "nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"
    return {
        "gpu": output(smi) or "nvidia-smi finds none",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30,
        "shared_memory_mib": shutil.disk_usage("/dev/shm").free >> 20,  # noqa: S108 - Triton's
        "disk_mib": shutil.disk_usage(_existing(home)).free >> 20,
        "libc": os.confstr("CS_GNU_LIBC_VERSION"),
        "kernel": os.uname().release,
    }


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def output(command: Sequence[str]) -> str:
    """What a command prints; empty where it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def use_torch(home: Path, python: str) -> Facts:
    """Make a virtual environment of the Python that has torch, with what was unpacked.

    Where that Python has no shared library, Triton's Python backend gets the one that was packed.
    The packed Python itself would not do: it is made for old systems, and lacks memfd_create.

    Raises:
        BundleError: it has no torch, or is of another version.
    """
    found = _ask(python, _FACTS, os.environ)
    if not found["version"].startswith(f"{VERSION}."):
        raise BundleError(
            f"{python} is Python {found['version']}: with --python, name the Python {VERSION} "
            "that has torch"
        )
    if found["missing"]:
        raise BundleError(
            f"{python} has no {' and no '.join(found['missing'])}: with --python, name the Python "
            f"{VERSION} that has both"
        )
    # The machine's packages come last: only what the bundle lacks is taken from them.
    lines = "".join(f"{folder}\n" for folder in found["folders"])
    (home / PACKAGES / "zz_machine.pth").write_text(lines)
    _make_environment(home, Path(found["real"]))
    libpython = _libpython(home)
    if libpython is None:
        packed = home / f"python/lib/libpython{VERSION}.so.1.0"
        for name in (packed.name, f"libpython{VERSION}.so"):
            (home / "venv/lib" / name).symlink_to(packed)
        libpython = _libpython(home)
    if libpython is None:
        raise BundleError(f"no shared library of Python is found, not even {packed}")
    return {"python": python, "version": found["version"], "libpython": libpython}


def _make_environment(home: Path, python: Path) -> None:
    """By hand, since not every Python can make one."""
    venv = home / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    packages = venv / f"lib/python{VERSION}/site-packages"
    packages.parent.mkdir(parents=True)
    packages.symlink_to(home / PACKAGES)
    (venv / "bin").mkdir()
    for name in ("python", "python3", f"python{VERSION}"):
        (venv / "bin" / name).symlink_to(python)
    (venv / "pyvenv.cfg").write_text(f"home = {python.parent}\nversion = {VERSION}\n")


def _libpython(home: Path) -> str | None:
    found: str | None = _ask(str(home / PYTHON), _LIBPYTHON, {"PATH": os.defpath})["libpython"]
    return found


def use_driver(home: Path) -> Facts:
    """Let Triton find the driver's libraries, also by names that the driver has no link for."""
    links = home / "lib"
    links.mkdir(exist_ok=True)
    found = {}
    for name in LIBRARIES:
        path = find_library(name)
        found[name] = str(path or "none")
        for link in (links / name, links / name.removesuffix(".1")):
            link.unlink(missing_ok=True)
            if path is not None:
                link.symlink_to(path)
    return found


def find_library(name: str) -> Path | None:
    """A shared library, by the linker's cache or where drivers are put."""
    for line in output(("/sbin/ldconfig", "-p")).splitlines():
        if line.strip().startswith(f"{name} ") and "x86-64" in line:
            return Path(line.rpartition("=> ")[2])
    for folder in filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")):
        if (Path(folder) / name).exists():
            return Path(folder) / name
    return next(Path(DRIVERS).rglob(name), None)


def loopback() -> Facts:
    """Make sure that 127.0.0.1 answers.

    Raises:
        BundleError: it does not, and cannot be made to.
    """
    for attempt in ("as it was", "set up here"):
        with socket.socket() as server, socket.socket() as client, suppress(OSError):
            server.bind(("127.0.0.1", 0))
            server.listen()
            client.settimeout(1)
            client.connect(server.getsockname())
            return {"lo": attempt}
        output(("ip", "link", "set", "lo", "up"))
    raise BundleError("nothing can connect to 127.0.0.1: as root, run `ip link set lo up`")


def prepare_java(home: Path, environment: Mapping[str, str]) -> Facts:
    """Write the archive of Java's own classes, without which every start is slower.

    Raises:
        BundleError: that Java does not run here.
    """
    # Java asks for this machine's name, and may wait long where no resolver answers.
    (home / HOSTS).write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
    java = home / JAVA
    try:
        dumped, told = (
            subprocess.run([java, option], capture_output=True, text=True, env=environment,
                           timeout=JAVA_S, check=False)
            for option in ("-Xshare:dump", "-version")
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundleError(f"{java} does not run: {error}") from None
    version = re.search(r'version "([^"]+)"', told.stderr)
    if version is None:
        raise BundleError(f"{java} does not run: {told.stderr.strip()[-500:]}")
    archive = "none, so that it starts slowly" if dumped.returncode else "written"
    return {"version": version[1], "class archive": archive}


def versions(home: Path, environment: Mapping[str, str]) -> Facts:
    """Import what is needed, with the machine's torch.

    Raises:
        BundleError: something cannot be imported.
    """
    return _ask(str(home / PYTHON), _VERSIONS, environment)


def _ask(python: str, code: str, environment: Mapping[str, str]) -> Facts:
    """The JSON that a Python prints last."""
    try:
        done = subprocess.run(
            [python, "-c", code],
            capture_output=True, text=True, timeout=IMPORT_S, env=environment, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundleError(f"{python} does not run: {error}") from None
    if done.returncode != 0:
        raise BundleError(f"{python} failed: {done.stderr.strip()[-1500:]}")
    found: Facts = json.loads(done.stdout.splitlines()[-1])
    return found


def environment_of(home: Path, commit: str, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of what was unpacked: nothing of the machine's own comes before it."""
    unset = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
    libraries = (str(home / "lib"), given.get("LD_LIBRARY_PATH", ""))
    programs = (home / PYTHON, home / JAVA)
    path = [*(str(one.parent) for one in programs), given.get("PATH", os.defpath)]
    return {
        "HOME": str(home),
        **{name: value for name, value in given.items() if name not in unset},
        "PATH": os.pathsep.join(path),
        "JAVA_HOME": str((home / JAVA).parents[1]),
        "JAVA_TOOL_OPTIONS": f"-Djdk.net.hosts.file={home / HOSTS}",
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "PYTHONUNBUFFERED": "1",
        "COMMIT": commit,
    }
