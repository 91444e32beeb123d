"""Machines for the converge tests: real systemd, apt, Docker and Compose; stand-ins for the GPU,
NVIDIA's packages and the images of the services."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.lab.build import Lab, build, lab_sources
from tests.ansible.lab.machine import Machine, clone, copy_tree, missing_tools
from tests.ansible.lab.playbook import ROOT, Outcome, run_playbook

TOOLS = ("debootstrap", "systemd-nspawn", "nsenter", "gpg", "dpkg-deb")

# Everything that points the roles at the lab instead of the internet and real hardware.
LAB_VARIABLES: dict[str, Any] = {
    "docker_repository": "file:/srv/lab/apt/docker",
    "docker_suite": "/",
    "docker_components": [],
    "docker_key_url": "file:///srv/lab/key.asc",
    "docker_version": "5:28.5.1-*",
    "nvidia_driver_repository": "file:/srv/lab/apt/nvidia",
    "nvidia_driver_key_url": "file:///srv/lab/key.asc",
    "nvidia_driver_build_packages": [],  # the lab runs on its host's kernel
    "nvidia_container_toolkit_repository": "file:/srv/lab/apt/toolkit",
    "nvidia_container_toolkit_key_url": "file:///srv/lab/key.asc",
    "nvidia_container_toolkit_version": "1.17.8-1",
    "nvidia_driver_reboot_timeout": 120,
    "preflight_minimum_free_gib": 1,
    "preflight_pci_devices": "/srv/pci",
    "serving_files": ["docker-compose.yaml"],  # the images are there; nothing is built
    "serving_export": False,
    "compose_service_health_retries": 10,
    "compose_service_health_delay": 1,
    "compose_service_stop_timeout": 10,
}
H100, P100 = "0x2330", "0x15f8"


@dataclass
class Node:
    """A machine and the inventory that names it."""

    machine: Machine
    inventory: Path
    variables: dict[str, Any]

    def play(self, playbook: str, *arguments: str, **variables: Any) -> Outcome:
        return run_playbook(
            playbook, self.inventory, *arguments, variables=self.variables | variables
        )

    def add_gpus(self, *gpus: tuple[str, str]) -> None:
        """Put GPUs (PCI device id, compute capability) on the bus, and in front of nvidia-smi."""
        rows = []
        for index, (device, capability) in enumerate(gpus):
            entry = self.machine.root / f"srv/pci/0000:{index + 1:02x}:00.0"
            entry.mkdir(parents=True)
            for name, text in (("vendor", "0x10de"), ("device", device), ("class", "0x030200")):
                (entry / name).write_text(f"{text}\n")
            rows.append(f"{index},GPU-{index:08d},Lab GPU,{capability}\n")
        (self.machine.root / "etc/lab-gpus.csv").write_text("".join(rows))

    def http(self, port: int, path: str) -> bool:
        """Whether something inside answers 200."""
        return self.machine.succeeds(
            "busybox", "wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{port}{path}"
        )


@pytest.fixture(scope="session")
def lab() -> Lab:
    if os.geteuid() or (missing := missing_tools(TOOLS)):
        pytest.fail(
            "the converge tests need root and "
            + ", ".join(missing if not os.geteuid() else TOOLS)
            + " (Debian: apt-get install debootstrap systemd-container gnupg)"
        )
    return build()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the roles ship: the project's own Compose file, with a model repository of its own."""
    copy = tmp_path_factory.mktemp("project")
    compose = (ROOT / "docker-compose.yaml").read_text()
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] != resource.RLIM_INFINITY:
        # Where the kernel does not let this machine lift the limit, neither can a container.
        compose = compose.replace("memlock: -1, ", "")
    (copy / "docker-compose.yaml").write_text(compose)
    (copy / "model_repository/resnet").mkdir(parents=True)
    (copy / "model_repository/resnet/config.pbtxt").write_text('name: "resnet"\n')
    return copy


@pytest.fixture(scope="module")
def new_node(
    lab: Lab, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Node]]:
    """Boots fresh machines; all are shut down and removed at the end of the module."""
    nodes: list[Node] = []

    def make(name: str) -> Node:
        directory = tmp_path_factory.mktemp(name)
        root = directory / name
        machine = clone(lab.base, root, lab.shared)
        lab_sources(root)
        (root / "srv/pci").mkdir()
        # Stands in for an image registry: what Docker would otherwise pull is there already.
        copy_tree(lab.images, root / "var/lib/docker")
        inventory = directory / "inventory.yaml"
        host = {
            "ansible_host": str(root),
            "ansible_connection": "community.general.chroot",
            "ansible_chroot_exe": str(machine.enter),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        inventory.write_text(
            json.dumps(
                {
                    "all": {
                        "hosts": {name: host},
                        "children": {
                            "gpu": {"hosts": {name: {}}},
                            "kafka": {"hosts": {name: {}}},
                            "load": {"hosts": {}},
                        },
                    }
                }
            )
        )
        node = Node(
            machine,
            inventory,
            LAB_VARIABLES
            | {"serving_source": str(project), "compose_service_source": str(project)},
        )
        nodes.append(node)
        machine.boot()
        machine.run("apt-get", "update")  # as every installed system has done
        return node

    yield make
    for node in nodes:
        node.machine.destroy()
