"""A Docker engine of the tests' own, and Compose v2 to go with it."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "compose"
COMPOSE_VERSION = "v2.40.3"
START_S = 60.0


class UnavailableError(Exception):
    """No engine, or no Compose, can be had here; the text says why."""


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 1800,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; AssertionError with what it said when it fails."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
    if check and done.returncode != 0:
        said = (done.stdout + done.stderr)[-6000:]
        raise AssertionError(f"{' '.join(map(str, argv))}: exit status {done.returncode}\n{said}")
    return done


def find_compose(*, build: bool = True) -> list[str]:
    """The words that call Compose v2; built from its Go module where it is not installed.

    Args:
        build: False: take what is there.

    Raises:
        UnavailableError: it is not there, and can't or must not be built.
    """
    if (
        shutil.which("docker")
        and run(["docker", "compose", "version"], check=False).returncode == 0
    ):
        return ["docker", "compose"]
    built = CACHE / f"docker-compose-{COMPOSE_VERSION}"
    if not built.is_file():
        if not build:
            raise UnavailableError("Compose v2 is not installed (make test-compose builds it)")
        if shutil.which("go") is None:
            raise UnavailableError("there is neither `docker compose` nor Go to build it with")
        _build_compose(built)
    return [str(built)]


def _build_compose(target: Path) -> None:
    module = f"github.com/docker/compose/v2@{COMPOSE_VERSION}"
    downloaded = run(["go", "mod", "download", "-json", module], check=False)
    if downloaded.returncode != 0:
        raise UnavailableError(f"{module} can't be fetched: {downloaded.stderr[-500:]}")
    CACHE.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".new")
    # In the module's own folder, whose go.mod replaces some of its dependencies.
    source = json.loads(downloaded.stdout)["Dir"]
    flags = f"-s -w -X github.com/docker/compose/v2/internal.Version={COMPOSE_VERSION}"
    build = ["go", "build", "-C", source, "-trimpath", "-ldflags", flags, "-o", beside, "./cmd"]
    run(build, env={"CGO_ENABLED": "0"})
    beside.rename(target)


@contextmanager
def start_engine(directory: Path) -> Iterator[str]:
    """Run an engine with all it has in `directory`, and yield its address (DOCKER_HOST).

    It runs beside any other engine, and changes nothing of the host's network: no rules, no
    forwarding, no default bridge.

    Raises:
        UnavailableError: not root, no dockerd, or it does not come up.
    """
    if os.geteuid() != 0:
        raise UnavailableError("a Docker engine can only be started by root")
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        raise UnavailableError(
            "docker and dockerd are not installed (Debian: apt install docker.io)"
        )
    errors = []
    # vfs copies every layer whole; it is for file systems that overlay2 can't be stacked on.
    for driver in ("overlay2", "vfs"):
        engine = _launch(directory, driver)
        try:
            if _answers(engine, f"unix://{directory}/sock"):
                yield f"unix://{directory}/sock"
                return
        finally:
            _end(engine, directory)
        errors.append((directory / "log").read_text()[-1000:])
    raise UnavailableError("dockerd does not start here:\n" + "\n".join(errors))


def _launch(directory: Path, driver: str) -> subprocess.Popen[bytes]:
    (directory / "data").mkdir(parents=True)
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            [
                "dockerd",
                f"--data-root={directory}/data",
                f"--exec-root={directory}/exec",
                f"--pidfile={directory}/pid",
                f"--host=unix://{directory}/sock",
                f"--storage-driver={driver}",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--bridge=none",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _answers(engine: subprocess.Popen[bytes], host: str) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and engine.poll() is None:
        if run(["docker", "--host", host, "version"], check=False).returncode == 0:
            return True
        time.sleep(0.2)
    return False


def _end(engine: subprocess.Popen[bytes], directory: Path) -> None:
    engine.send_signal(signal.SIGTERM)
    try:
        engine.wait(60)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()
    # Network namespaces stay mounted after an engine.
    for namespace in (directory / "exec" / "netns").glob("*"):
        run(["umount", namespace], check=False)
    shutil.rmtree(directory / "data")
    shutil.rmtree(directory / "exec")


@dataclass(frozen=True)
class Project:
    """docker-compose.yaml on an engine."""

    host: str
    files: Sequence[Path]
    compose: Sequence[str]
    settings: Mapping[str, str] = field(default_factory=dict)

    def docker(self, *words: str | Path, **options: Any) -> str:
        return run(["docker", "--host", self.host, *words], env=self._env, **options).stdout

    def logs(self, container: str) -> str:
        done = run(["docker", "--host", self.host, "logs", container])
        return done.stdout + done.stderr

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run one Compose command on the project."""
        files = [word for file in self.files for word in ("--file", str(file))]
        # An .env of the person who runs the tests must not change what they test.
        argv = [*self.compose, "--env-file", os.devnull, *files, *words]
        return run(argv, env=self._env, **options)

    @property
    def _env(self) -> dict[str, str]:
        # The builder of the engine itself: BuildKit's is a plugin that is not always there.
        return {"DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0", **self.settings}

    def ids(self, service: str) -> list[str]:
        return self("ps", "--quiet", service).stdout.split()

    def inspect(self, container: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", container))
        return found[0]

    def crash(self, service: str) -> None:
        """Kill the first process of each of its containers, as a crash would."""
        for container in self.ids(service):
            os.kill(self.inspect(container)["State"]["Pid"], signal.SIGKILL)
