"""Whether this machine can run docker-compose.yaml: said before anything is pulled.

It needs nothing but Python: python3 scripts/compose_check.py
"""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMPOSE_MINIMUM = "2.24.4"
"""What docker-compose.cpu.yaml's !reset needs."""
GIB = 2**30
IMAGE_GIB = {"triton": 25, "export": 12}
"""Space that an image takes while it is pulled or built; the export's torch is one for CUDA."""
CPU_EXPORT_GIB = 3
OTHER_IMAGE_GIB = 1
STARTED = ("triton", "bridge")
"""What a user names; Compose starts what these depend on, too."""
CONTAINERD_SETTINGS = Path("/etc/containerd/config.toml")
RELEASES = ROOT / "ansible/roles/serving/vars/main.yml"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer."""

    ok: bool
    text: str


class MissingError(Exception):
    """A program is not there, or fails; the text is what it said."""


def said(*command: str) -> str:
    """What a program prints.

    Raises:
        MissingError: it is not there, or fails.
    """
    try:
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    except OSError:
        raise MissingError(f"{command[0]} is not installed") from None
    if done.returncode:
        raise MissingError((done.stderr or done.stdout).strip())
    return done.stdout.strip()


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def check_docker() -> Finding:
    try:
        return Finding(True, f"Docker {said('docker', 'version', '--format={{.Server.Version}}')}")
    except MissingError as error:
        if "permission denied" in str(error):
            return Finding(False, "Docker lets in root and the group docker alone: use sudo")
        return Finding(False, f"Docker does not answer: install or start it ({error})")


def check_compose() -> Finding:
    try:
        version = said("docker", "compose", "version", "--short")
    except MissingError as error:
        return Finding(False, f"Compose is missing: install docker-compose-plugin ({error})")
    if numbers(version) < numbers(COMPOSE_MINIMUM):
        return Finding(False, f"Compose {version} is too old: {COMPOSE_MINIMUM} or later is needed")
    return Finding(True, f"Compose {version}")


def needs(tag: str) -> tuple[float, str] | None:
    """Compute capability and driver that a Triton release needs; None for one that is not known."""
    found = re.search(
        rf'tag: "{re.escape(tag)}", minimum_capability: ([\d.]+), minimum_driver: "([\d.]+)"',
        RELEASES.read_text(),
    )
    return (float(found[1]), found[2]) if found else None


def check_age(config: dict[str, Any]) -> Iterator[Finding]:
    """A Triton that gets no fixes any more is for this machine alone."""
    triton = config["services"].get("triton", {})
    found = re.search(r"tritonserver:([\d.]+)-", triton.get("image", ""))
    row = rf'tag: "{re.escape(found[1])}".*loopback_only: true' if found else ""
    opened = {port.get("host_ip") or "every address" for port in triton.get("ports", ())}
    opened = {address for address in opened if not address.startswith(("127.", "::1"))}
    if found and opened and re.search(row, RELEASES.read_text()):
        yield Finding(
            False,
            f"Triton {found[1]} gets no fixes any more, of bypassed authentication among others, "
            f"and BIND_ADDRESS opens it on {', '.join(sorted(opened))}: leave that at 127.0.0.1",
        )


def check_gpu(config: dict[str, Any]) -> Iterator[Finding]:
    """Driver, GPU and toolkit; nothing where no GPU is asked for."""
    triton = config["services"].get("triton", {})
    if not triton.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices"):
        yield Finding(True, "no GPU is asked for")
        return
    query = "--query-gpu=name,driver_version,compute_cap"
    try:
        gpus = said("nvidia-smi", query, "--format=csv,noheader").splitlines()
    except MissingError as error:
        yield Finding(
            False,
            f"no NVIDIA driver answers ({error}): install it, or go without a GPU with "
            "COMPOSE_FILE=docker-compose.yaml:docker-compose.cpu.yaml in .env",
        )
        return
    found = re.search(r"tritonserver:([\d.]+)-", triton.get("image", ""))
    needed = needs(found[1]) if found else None
    for gpu in gpus or ["nothing"]:
        row = re.fullmatch(r"(.+), ([\d.]+), (\d+\.\d+)", gpu.strip())
        if row is None:
            yield Finding(False, f"no GPU that can be used: nvidia-smi says {gpu.strip()!r}")
            continue
        name, driver, capability = row.groups()
        if found and needed and float(capability) < needed[0]:
            yield Finding(
                False,
                f"{name} has compute capability {capability}, Triton {found[1]} needs {needed[0]}: "
                "set TRITON_IMAGE to an older one (docs/provisioning.md)",
            )
        elif found and needed and numbers(driver) < numbers(needed[1]):
            yield Finding(
                False, f"driver {driver} is too old for Triton {found[1]}: {needed[1]} is needed"
            )
        else:
            yield Finding(True, f"{name}, driver {driver}")
    info = json.loads(said("docker", "info", "--format={{json .}}"))
    devices = {str(device.get("ID", "")) for device in info.get("DiscoveredDevices") or ()}
    if "nvidia" in info.get("Runtimes", {}) or any("nvidia.com/gpu" in one for one in devices):
        yield Finding(True, "Docker knows the NVIDIA container toolkit")
    else:
        yield Finding(
            False,
            "Docker does not know the NVIDIA container toolkit: install nvidia-container-toolkit, "
            "then run: sudo nvidia-ctk runtime configure --runtime=docker; "
            "sudo systemctl restart docker",
        )


def started(config: dict[str, Any]) -> dict[str, Any]:
    """The services that ``docker compose up triton bridge`` starts, the first before the others."""
    names = list(STARTED)
    for name in names:
        depends = config["services"].get(name, {}).get("depends_on") or {}
        names += [other for other in depends if other not in names]
    return {name: config["services"][name] for name in names if name in config["services"]}


def image_gib(name: str, service: dict[str, Any]) -> int:
    lock = service.get("build", {}).get("args", {}).get("EXPORT_LOCK", "")
    if name == "export" and "cpu" in lock:
        return CPU_EXPORT_GIB
    return IMAGE_GIB.get(name, OTHER_IMAGE_GIB)


def image_root(info: dict[str, Any]) -> Path:
    """The folder that images lie in.

    Docker 29 and later keep them with containerd, wherever Docker's data-root is, unless they were
    installed over an older one. A containerd that Docker started itself is within data-root.
    """
    root = Path(info["DockerRootDir"])
    kept_by = dict(pair for pair in info.get("DriverStatus") or () if len(pair) == 2)
    if not kept_by.get("driver-type", "").startswith("io.containerd."):
        return root
    if "/docker/" in info.get("Containerd", {}).get("Address", ""):
        return root / "containerd/daemon"
    try:
        settings = CONTAINERD_SETTINGS.read_text()
    except OSError:
        settings = ""
    found = re.search(r"""^root *= *["'](.+)["']""", settings, re.MULTILINE)
    return Path(found[1] if found else "/var/lib/containerd")


def check_disk(config: dict[str, Any]) -> Finding:
    """Space for the images that are not there yet."""
    wanted = 0
    seen = set()
    for name, service in started(config).items():
        image = service.get("image", "")
        if image in seen:
            continue
        seen.add(image)
        try:
            said("docker", "image", "inspect", "--format={{.Id}}", image)
        except MissingError:
            wanted += image_gib(name, service)
    root = image_root(json.loads(said("docker", "info", "--format={{json .}}")))
    there = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(there).free // GIB
    text = f"{free} GiB free under {root}, {wanted} needed for images that are not there yet"
    if free < wanted:
        how = "free some (docker system df), or move that folder (docs/troubleshooting.md)"
        return Finding(False, f"{text}: {how}")
    return Finding(True, text)


def check_ports(config: dict[str, Any]) -> Iterator[Finding]:
    """Ports that another program has. Those of our own running services are theirs."""
    running = said("docker", "compose", "ps", "--services", "--status=running").split()
    taken = []
    for name, service in config["services"].items():
        for port in service.get("ports", ()) if name not in running else ():
            published = [int(number) for number in str(port["published"]).split("-")]
            free = [
                number
                for number in range(published[0], published[-1] + 1)
                if is_free(port.get("host_ip") or "0.0.0.0", number)  # noqa: S104 - Compose's own
            ]
            if not free:
                taken.append(f"{port['published']} ({name})")
    if taken:
        yield Finding(
            False,
            f"ports taken by other programs: {', '.join(taken)}. Stop those, or set others in .env "
            "(KAFKA_PORT, TRITON_HTTP_PORT, ...; see .env.example)",
        )
    else:
        yield Finding(True, "all ports are free")


def is_free(host: str, port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def check() -> Iterator[Finding]:
    """All findings. What the rest depends on comes first, and ends it."""
    for first in (check_docker, check_compose):
        finding = first()
        yield finding
        if not finding.ok:
            return
    try:
        config = json.loads(said("docker", "compose", "config", "--format=json"))
    except MissingError as error:
        yield Finding(False, f"the Compose files, or .env, have a fault: {error}")
        return
    rest: list[Callable[[], Iterator[Finding]]] = [
        lambda: check_age(config),
        lambda: check_gpu(config),
        lambda: iter([check_disk(config)]),
        lambda: check_ports(config),
    ]
    for part in rest:
        try:
            yield from part()
        except MissingError as error:
            yield Finding(False, str(error))


def main() -> int:
    bad = False
    for finding in check():
        print(f"{'ok     ' if finding.ok else 'MISSING'} {finding.text}", flush=True)
        bad |= not finding.ok
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
