"""Images that stand in for those of a registry, under the names that the project asks for."""

import re
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from stack.kafka import jars
from tests.compose.engine import CACHE, ROOT, UnavailableError, run

STANDINS = ROOT / "tests" / "compose" / "standins"
PACKAGES = "ca-certificates,curl,libpython3.11,netbase,python-is-python3,python3,python3-venv"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

Docker = Callable[..., str]


def name_in(file: str, variable: str) -> str:
    """The default of a variable, as written in the project's own file."""
    text = (ROOT / file).read_text()
    found = re.search(rf"\$\{{{variable}:-([^}}]+)\}}|^ARG {variable}=(\S+)", text, re.MULTILINE)
    assert found is not None, f"{file} has no {variable}"
    return str(found[1] or found[2]).partition("@")[0]


def site_packages() -> Path:
    """Where this environment's torch is."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise UnavailableError("torch is not installed")
    return Path(spec.origin).parents[1]


def build_all(docker: Docker, scratch: Path) -> None:
    """Build the bases: Python, Kafka, Triton and Prometheus."""
    python = name_in("docker-compose.yaml", "PYTHON_IMAGE")
    _import(docker, _debian(), python)
    for folder, variable, collect in (
        ("kafka", "KAFKA_IMAGE", _collect_kafka),
        ("triton", "TRITON_IMAGE", _collect_triton),
        ("prometheus", "PROMETHEUS_IMAGE", _collect_prometheus),
    ):
        context = scratch / folder
        shutil.copytree(STANDINS / folder, context)
        collect(context)
        image = name_in("docker-compose.yaml", variable)
        docker("build", "--build-arg", f"PYTHON_IMAGE={python}", "--tag", image, context)
        shutil.rmtree(context)


def _debian() -> Path:
    """A Debian root with Python, made once and kept."""
    root = CACHE / "debian"
    if root.is_dir():
        return root
    if shutil.which("debootstrap") is None:
        raise UnavailableError("debootstrap is not installed (Debian: apt install debootstrap)")
    beside = CACHE / "debian.new"
    shutil.rmtree(beside, ignore_errors=True)
    beside.parent.mkdir(parents=True, exist_ok=True)
    run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", beside])
    # Packages are fetched past the same proxies, with the same authorities, as on this host.
    shutil.copyfile(CERTIFICATES, beside / CERTIFICATES.relative_to("/"))
    (beside / "etc/pip.conf").write_text(f"[global]\ncert = {CERTIFICATES}\n")
    for archive in (beside / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    beside.rename(root)
    return root


def _import(docker: Docker, root: Path, image: str) -> None:
    archive = CACHE / "debian.tar"
    run(["tar", "--create", "--numeric-owner", f"--file={archive}", "--directory", root, "."])
    try:
        docker("import", archive, image)
    finally:
        archive.unlink()


def _collect_kafka(context: Path) -> None:
    libs = CACHE / "kafka-libs"
    if not libs.is_dir():
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime"]
        pom = STANDINS / "kafka" / "pom.xml"
        run(["mvn", "-q", "-B", "-f", pom, *goal, f"-DoutputDirectory={libs}"])
    shutil.copytree(libs, context / "libs")
    home = Path(jars.java()).resolve().parents[1]
    # With what it links to: Debian keeps a Java's settings in /etc.
    shutil.copytree(home, context / "java", ignore_dangling_symlinks=True)


def _collect_triton(context: Path) -> None:
    packages = site_packages()
    server, target = packages / "pytriton" / "tritonserver", context / "tritonserver"
    shutil.copytree(packages / "nvidia_pytriton.libs", context / "nvidia_pytriton.libs")
    (target / "bin").mkdir(parents=True)
    shutil.copy2(server / "bin" / "tritonserver", target / "bin")
    backend = target / "backends" / "python"
    shutil.copytree(server / "backends" / "python", backend)
    stub = server / "python_backend_stubs" / "3.11" / "triton_python_backend_stub"
    shutil.copy2(stub, backend)
    (backend / stub.name).chmod(0o755)  # package installers drop the execute bit
    for name in ("numpy", "numpy.libs"):
        shutil.copytree(packages / name, context / "python" / name)


def _collect_prometheus(context: Path) -> None:
    program = shutil.which("prometheus")
    if program is None:
        raise UnavailableError("prometheus is not installed (Debian: apt install prometheus)")
    shutil.copyfile(program, context / "prometheus")
    (context / "prometheus").chmod(0o755)
