"""What is missing is said before anything is pulled, on a machine of stand-in programs."""

import json
import socket
from pathlib import Path

import pytest

from scripts import compose_check
from tests.scripts.machine import Answers, Machine, compose_config

GPU = "NVIDIA H100 80GB HBM3, 580.95.05, 9.0\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", made.path)
    return made


def docker(tmp_path: Path, **changes: tuple[int, str]) -> Answers:
    info = {"Runtimes": {"runc": {}, "nvidia": {}}, "DockerRootDir": str(tmp_path / "not/yet")}
    answers = {
        "version": (0, "29.9.3"),
        "compose version": (0, "5.7.1"),
        "compose config": (0, compose_config()),
        "compose ps": (0, ""),
        "info --format={{json": (0, json.dumps(info)),
        "image inspect": (0, "sha256:..."),
    }
    return answers | {name.replace("_", " "): answer for name, answer in changes.items()}


def missing() -> list[str]:
    return [finding.text for finding in compose_check.check() if not finding.ok]


def test_a_machine_that_has_everything_passes(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.program("docker", docker(tmp_path))
    machine.program("nvidia-smi", {"--query-gpu": (0, GPU)})
    assert compose_check.main() == 0
    assert "MISSING" not in capsys.readouterr().out


def test_without_docker_nothing_else_is_asked(machine: Machine, tmp_path: Path) -> None:
    machine.program("docker", docker(tmp_path, version=(1, "Cannot connect to the daemon")))
    (only,) = missing()
    assert only.startswith("Docker does not answer: install or start it (Cannot connect")
    assert machine.calls.read_text().count("\n") == 1
    assert compose_check.main() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compose_version": (0, "2.20.0")}, "Compose 2.20.0 is too old: 2.24.4"),
        ({"compose_version": (1, "unknown command")}, "Compose is missing"),
        ({"compose_config": (1, "yaml: line 3")}, "the Compose files, or .env, have a fault: yaml"),
        ({"version": (1, "permission denied while trying")}, "use sudo"),
    ],
)
def test_docker_and_compose_that_cannot_do_it_are_named(
    machine: Machine, tmp_path: Path, changes: dict[str, tuple[int, str]], message: str
) -> None:
    machine.program("docker", docker(tmp_path, **changes))
    (only,) = missing()
    assert message in only


@pytest.mark.parametrize(
    ("smi", "message"),
    [
        ((9, "couldn't communicate with the NVIDIA driver"), "no NVIDIA driver answers"),
        ((0, "Tesla P100, 580.95.05, 6.0\n"), "Tesla P100 has compute capability 6.0"),
        ((0, "NVIDIA A100, 535.1.2, 8.0\n"), "driver 535.1.2 is too old for Triton 26.11: 580"),
        ((0, "No devices were found\n"), "nvidia-smi says 'No devices were found'"),
        ((0, "GRID V100D-8Q, 580.95.05, [N/A]\n"), "says 'GRID V100D-8Q, 580.95.05, [N/A]'"),
        ((0, ""), "nvidia-smi says 'nothing'"),
    ],
)
def test_a_gpu_that_this_triton_cannot_use_is_named(
    machine: Machine, tmp_path: Path, smi: tuple[int, str], message: str
) -> None:
    machine.program("docker", docker(tmp_path))
    machine.program("nvidia-smi", {"--query-gpu": smi})
    (only,) = missing()
    assert message in only


def test_docker_without_the_toolkit_is_told_what_to_do(machine: Machine, tmp_path: Path) -> None:
    answers = docker(tmp_path)
    without = {"Runtimes": {"runc": {}}, "DockerRootDir": str(tmp_path)}
    answers["info --format={{json"] = (0, json.dumps(without))
    machine.program("docker", answers)
    machine.program("nvidia-smi", {"--query-gpu": (0, GPU)})
    (only,) = missing()
    assert "nvidia-ctk runtime configure" in only
    cdi = {"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}
    answers["info --format={{json"] = (0, json.dumps(without | cdi))
    machine.program("docker", answers)
    assert missing() == []


def test_without_a_gpu_none_is_looked_for(machine: Machine, tmp_path: Path) -> None:
    machine.program("docker", docker(tmp_path, compose_config=(0, compose_config(gpu=False))))
    assert missing() == []


def test_space_is_needed_for_images_that_are_not_there(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose_check, "IMAGE_GIB", {"triton": 10**6, "export": 14})
    machine.program("nvidia-smi", {"--query-gpu": (0, GPU)})
    machine.program("docker", docker(tmp_path, image_inspect=(1, "No such image")))
    (only,) = missing()
    assert f"{10**6 + 14 + 1} needed for images that are not there yet" in only
    machine.program("docker", docker(tmp_path))
    assert missing() == []


SNAPSHOTS = [["driver-type", "io.containerd.snapshotter.v1"]]
SYSTEMS_OWN = {"Address": "/run/containerd/containerd.sock"}


@pytest.mark.parametrize(
    ("info", "settings", "root"),
    [
        ({"DriverStatus": [["Backing Filesystem", "extfs"]]}, "", "/data"),
        ({"DriverStatus": None}, "", "/data"),
        ({"DriverStatus": SNAPSHOTS, "Containerd": SYSTEMS_OWN}, "", "/var/lib/containerd"),
        (
            {"DriverStatus": SNAPSHOTS, "Containerd": SYSTEMS_OWN},
            'version = 3\nroot = "/big"',
            "/big",
        ),
        (
            {"DriverStatus": SNAPSHOTS, "Containerd": SYSTEMS_OWN},
            '#root = "/big"',
            "/var/lib/containerd",
        ),
        (
            {
                "DriverStatus": SNAPSHOTS,
                "Containerd": {"Address": "/var/run/docker/containerd/containerd.sock"},
            },
            'root = "/big"',
            "/data/containerd/daemon",
        ),
    ],
)
def test_space_is_looked_for_where_images_are_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    info: dict[str, object],
    settings: str,
    root: str,
) -> None:
    """Docker 29 keeps them with containerd, whose folder Docker's data-root does not move."""
    monkeypatch.setattr(compose_check, "CONTAINERD_SETTINGS", tmp_path / "config.toml")
    if settings:
        (tmp_path / "config.toml").write_text(settings)
    assert compose_check.image_root({"DockerRootDir": "/data"} | info) == Path(root)


@pytest.mark.parametrize(
    ("tag", "address", "refused"),
    [
        ("24.07", "10.0.0.1", True),
        ("24.07", "127.0.0.1", False),
        ("26.11", "10.0.0.1", False),
    ],
)
def test_a_triton_without_fixes_is_for_this_machine_alone(
    tag: str, address: str, refused: bool
) -> None:
    ports = [{"host_ip": address, "target": 8000, "published": "8000"}]
    triton = {"image": f"nvcr.io/nvidia/tritonserver:{tag}-py3", "ports": ports}
    found = [finding.text for finding in compose_check.check_age({"services": {"triton": triton}})]
    assert bool(found) == refused
    assert all(f"Triton {tag} gets no fixes any more" in text for text in found)


@pytest.mark.parametrize(
    ("export_lock", "gib"),
    [
        ("requirements/export.lock", 25 + 12 + 1),
        ("requirements/export-cpu.lock", 25 + 3 + 1),
        # docker-compose.exported.yaml: nothing waits for the export.
        (None, 25 + 1),
    ],
)
def test_only_images_that_are_started_need_space(
    machine: Machine, tmp_path: Path, export_lock: str | None, gib: int
) -> None:
    config = compose_config(gpu=False, export_lock=export_lock)
    absent = (1, "No such image")
    machine.program("docker", docker(tmp_path, compose_config=(0, config), image_inspect=absent))
    disk = compose_check.check_disk(json.loads(config))
    assert f" {gib} needed for images that are not there yet" in disk.text


def test_a_port_of_another_program_is_named_and_our_own_is_not(
    machine: Machine, tmp_path: Path
) -> None:
    machine.program("nvidia-smi", {"--query-gpu": (0, GPU)})
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = compose_config(ports={"triton": [str(port)], "bridge": [f"{port}-{port + 9}"]})
        machine.program("docker", docker(tmp_path, compose_config=(0, config)))
        (only,) = missing()
        assert f"ports taken by other programs: {port} (triton)." in only
        answers = docker(tmp_path, compose_config=(0, config), compose_ps=(0, "triton\n"))
        machine.program("docker", answers)
        assert missing() == []
