"""The rivals in Java: Maven fetches, protoc generates Triton's protocol, javac compiles."""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from tritonclient.grpc import model_config_pb2, service_pb2

from stack.errors import StackError
from stack.paths import CACHE

SOURCES = Path(__file__).parent / "java"
POM = SOURCES / "pom.xml"
FLINK_MODEL = "org.apache.flink:flink-model-triton:2.3.0"
"""Copied by itself: its parent's POM is not in every repository that has it, and it needs no other
package."""
ALONE = "org.apache.maven.plugins:maven-dependency-plugin:2.8"
"""Its newer versions read the parent's POM even where nothing but the jar is wanted."""
BUILD_S = 900.0
# Flink reaches into the JDK, as its own start scripts allow it.
OPENS = (
    "java.base/java.lang", "java.base/java.net", "java.base/java.io", "java.base/java.nio",
    "java.base/sun.nio.ch", "java.base/java.lang.reflect", "java.base/java.text",
    "java.base/java.time", "java.base/java.util", "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic", "java.base/java.util.concurrent.locks",
)  # fmt: skip


def command(name: str, heap: str = "1g") -> list[str]:
    """The command that starts a rival in Java, which is built first if it is not in the cache.

    Raises:
        StackError: Maven or the JDK is missing or failed; the text quotes it.
    """
    opens = [f"--add-opens={one}=ALL-UNNAMED" for one in OPENS]
    quiet = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Xshare:auto"]
    return ["java", f"-Xmx{heap}", *opens, *quiet, "-cp", build(), name]


def build() -> str:
    """Build the rivals if the cache lacks them; returns the class path.

    Raises:
        StackError: as `command`.
    """
    cache = CACHE / "rivals-java"
    cache.mkdir(parents=True, exist_ok=True)
    jars = _kept(cache, [POM], _fetch)
    classes = _kept(
        cache, [POM, *sorted(SOURCES.glob("*.java"))], lambda folder: _compile(jars, folder)
    )
    return f"{classes}:{jars}/*"


def _kept(cache: Path, sources: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """The folder with what `make` made of these files; it is kept until one of them changes."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    kept = cache / digest
    if not kept.is_dir():
        with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            make(made)
            made.rename(kept)
    return kept


def _fetch(folder: Path) -> None:
    maven = ["mvn", "-q", "-B", "-f", str(POM)]
    output = f"-DoutputDirectory={folder}"
    _run([*maven, "dependency:copy-dependencies", "-DincludeScope=runtime", output])
    name = f"{FLINK_MODEL.split(':')[1]}.jar"
    _run(["mvn", "-q", "-B", f"{ALONE}:get", "-Dtransitive=false", f"-Dartifact={FLINK_MODEL}",
          f"-Ddest={folder / name}"])  # fmt: skip


def _compile(jars: Path, classes: Path) -> None:
    generated = classes.parent / "generated"
    generated.mkdir()
    # As Triton's own Python client has it.
    described = FileDescriptorSet()
    for module in (model_config_pb2, service_pb2):
        one = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(one)
        described.file.append(one)
    protocol = classes.parent / "triton.bin"
    protocol.write_bytes(described.SerializeToString())
    (compiler,) = jars.glob("protoc-*.exe")
    compiler.chmod(0o755)
    _run([
        str(compiler), f"--descriptor_set_in={protocol}", f"--java_out={generated}",
        *(one.name for one in described.file),
    ])  # fmt: skip
    sources = [*generated.rglob("*.java"), *SOURCES.glob("*.java")]
    _run(["javac", "-nowarn", "-d", str(classes), "-cp", f"{jars}/*", *map(str, sources)])
    services = classes / "META-INF/services/org.apache.flink.table.factories.Factory"
    services.parent.mkdir(parents=True)
    services.write_text("FlinkTriton$Provider\n")


def _run(command: Sequence[str]) -> None:
    if shutil.which(command[0]) is None:
        raise StackError(
            f"there is no {command[0]} on the PATH: install Maven and a JDK "
            "(Debian: apt install maven openjdk-17-jdk-headless)"
        )
    try:
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=BUILD_S, check=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise StackError(f"{command[0]} did not end in {BUILD_S:.0f} s; try again") from None
    except subprocess.CalledProcessError as error:
        said = "\n".join(f"  {line}" for line in error.stdout.splitlines()[:20])
        raise StackError(f"the rivals in Java could not be built: {command[0]}:\n{said}") from None
