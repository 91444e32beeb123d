"""Finds Java, and fetches the broker's jars from Maven Central."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from stack.errors import StackError
from stack.paths import CACHE

POM = Path(__file__).with_name("pom.xml")
MIN_JAVA = 17
"""Oldest Java that a Kafka 4 broker runs on."""

FETCH_TIMEOUT_S = 900
"""Bound on fetching the jars, in seconds: they are 45 MB in some 50 files, and a mirror that hangs
must not block a start for ever."""


def java() -> str:
    """The path of a Java that runs the broker: `$JAVA_HOME/bin/java`, else the one on the PATH.

    Raises:
        StackError: there is no Java, or it is too old.
    """
    install = (
        f"install Java {MIN_JAVA} or newer (Debian, Ubuntu: apt install openjdk-17-jdk-headless)"
    )
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if found is None:
        where = f"in JAVA_HOME ({home})" if home else "on the PATH"
        raise StackError(f"Kafka needs Java and there is none {where}: {install}")
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    if version is None:
        raise StackError(f"{found} -version gives no version: {answer.stderr.strip()[:300]}")
    if int(version[1]) < MIN_JAVA:
        raise StackError(f"Kafka needs Java {MIN_JAVA}, {found} is Java {version[1]}: {install}")
    return found


def is_cached() -> bool:
    return _libs().is_dir()


def class_path() -> str:
    """The broker's class path; the jars are fetched when they are not in the cache.

    Several processes may call this at once: one fetches, the others wait for it.

    Raises:
        StackError: Maven is missing or failed; the text quotes its output.
    """
    libs = _libs()
    if not libs.is_dir():
        libs.parent.mkdir(parents=True, exist_ok=True)
        with (libs.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not libs.is_dir():
                _fetch(libs)
    return f"{libs}/*"


def class_archive(java_path: str) -> Path:
    """The file in which this Java keeps the broker's classes in a form that it can map into memory.

    The first use writes it (`-XX:ArchiveClassesAtExit`), and later starts are faster. A Java that
    does not match the archive ignores it.
    """
    program = Path(java_path).resolve()
    identity = f"{program} {program.stat().st_mtime_ns}"
    return _libs().parent / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.jsa"


def _libs() -> Path:
    return CACHE / "kafka" / hashlib.sha256(POM.read_bytes()).hexdigest()[:16] / "libs"


def maven() -> str:
    """The path of Maven, which fetches the jars.

    Raises:
        StackError: Maven is missing.
    """
    found = shutil.which("mvn")
    if found is None:
        raise StackError(
            "Kafka's jars come through Maven and there is no mvn on the PATH: "
            "install Maven (Debian: apt install maven)"
        )
    return found


def _fetch(libs: Path) -> None:
    program = maven()
    with tempfile.TemporaryDirectory(dir=libs.parent, prefix="fetch-") as scratch:
        fetched = Path(scratch) / "libs"
        goal = "dependency:copy-dependencies"
        options = ["-DincludeScope=runtime", f"-DoutputDirectory={fetched}"]
        try:
            done = subprocess.run(
                [program, "-q", "-B", "-f", str(POM), goal, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=FETCH_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StackError(f"Maven did not end in {FETCH_TIMEOUT_S} s; try again") from None
        if done.returncode != 0:
            said = "\n".join(f"  {line}" for line in done.stdout.splitlines()[:20])
            raise StackError(f"Maven could not fetch Kafka's jars ({POM}):\n{said}")
        fetched.rename(libs)
