"""The role's pins, tried with apt itself on a repository that is laid out as NVIDIA's is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ansible.lab.aptrepo import index
from tests.ansible.lab.driver import LIBRARIES, build_driver
from tests.ansible.variables import defaults

pytestmark = pytest.mark.skipif(
    not shutil.which("apt-get") or not shutil.which("dpkg-deb"), reason="needs apt and dpkg"
)
WANTED, NEWER = "580.105.08-1", "595.10.01-1"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("nvidia")
    for version in (WANTED, NEWER):
        build_driver(directory, version, "#!/bin/sh\n")
    (directory / "Packages").write_text(index(directory))
    return directory


def simulate(repository: Path, root: Path, pinned: list[str], package: str) -> str:
    """What apt would do on a machine with nothing installed; its words, also where it refuses."""
    for path in ("etc/apt/preferences.d", "state/lists/partial", "cache/archives/partial"):
        (root / path).mkdir(parents=True)
    (root / "status").touch()
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    (root / "etc/apt/preferences.d/driver").write_text(
        "\n".join(
            f"Package: {pattern}\nPin: version 580.*\nPin-Priority: 1001\n" for pattern in pinned
        )
    )
    options = {
        "Dir::Etc": root / "etc/apt",
        "Dir::State": root / "state",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*apt, "update"], check=True, capture_output=True)
    done = subprocess.run(
        [*apt, "--simulate", "install", package], check=False, capture_output=True, text=True
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("package", ["nvidia-open", "cuda-drivers"])
def test_every_package_of_the_driver_is_taken_from_the_pinned_branch(
    repository: Path, tmp_path: Path, package: str
) -> None:
    said = simulate(
        repository, tmp_path, defaults("nvidia_driver")["nvidia_driver_pinned"], package
    )
    installed = {line.split()[1]: line for line in said.splitlines() if line.startswith("Inst ")}
    assert {package, *LIBRARIES} <= set(installed), said
    assert all(f"({WANTED} " in line for line in installed.values()), said


def test_pins_of_nvidias_name_alone_make_it_uninstallable(repository: Path, tmp_path: Path) -> None:
    said = simulate(repository, tmp_path, ["*nvidia*", "cuda-drivers*"], "nvidia-open")
    assert "Inst libcuda1" not in said or f"libcuda1 ({NEWER}" in said, said
    assert "unmet dependencies" in said, said
