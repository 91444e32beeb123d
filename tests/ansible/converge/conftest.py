"""Machines for the converge tests: real systemd, apt, Docker and Compose; stand-ins for the GPU,
NVIDIA's packages and the images of the services."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.ansible.lab.build import DEBIAN_12, System, build, lab_sources
from tests.ansible.lab.machine import Machine, clone, copy_tree, missing_tools
from tests.ansible.lab.playbook import ROOT, Outcome, run_playbook

TOOLS = ("debootstrap", "systemd-nspawn", "nsenter", "gpg", "dpkg-deb", "ip")

# Everything that points the roles at the lab instead of the internet and real hardware.
LAB_VARIABLES: dict[str, Any] = {
    "docker_repository": "file:/srv/lab/apt/docker",
    "docker_suite": "/",
    "docker_components": [],
    "docker_key_url": "file:///srv/lab/key.asc",
    "docker_version": "5:29.9.2-*",
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
    "compose_service_health_retries": 60,
    "compose_service_health_delay": 1,
    "compose_service_stop_timeout": 10,
}
H100, P100 = "0x2330", "0x15f8"


@dataclass
class Node:
    """A machine and the inventory that names it."""

    machine: Machine
    inventory: Path
    connection: dict[str, str]
    variables: dict[str, Any]

    def play(self, playbook: str, *arguments: str, **variables: Any) -> Outcome:
        """Run a playbook with the lab's variables; None takes one of those away."""
        given = {k: v for k, v in (self.variables | variables).items() if v is not None}
        return run_playbook(playbook, self.inventory, *arguments, variables=given)

    def add_gpus(self, *gpus: tuple[str, str]) -> None:
        """Put GPUs (PCI device id, compute capability) on the bus, and in front of nvidia-smi."""
        listed = self.machine.root / "etc/lab-gpus"
        listed.mkdir()
        for index, (device, capability) in enumerate(gpus):
            entry = self.machine.root / f"srv/pci/0000:{index + 1:02x}:00.0"
            entry.mkdir(parents=True)
            for name, text in (("vendor", "0x10de"), ("device", device), ("class", "0x030200")):
                (entry / name).write_text(f"{text}\n")
            row = f"{index},GPU-{index:08d},Lab GPU,{capability}\n"
            (listed / str(index)).write_text(row)

    def http(self, port: int, path: str) -> bool:
        """Whether something inside answers 200."""
        return self.machine.succeeds(
            "busybox", "wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{port}{path}"
        )


def need_tools() -> None:
    if os.geteuid() or (missing := missing_tools(TOOLS)):
        pytest.fail(
            "the converge tests need root and "
            + ", ".join(missing if not os.geteuid() else TOOLS)
            + " (Debian: apt-get install debootstrap systemd-container gnupg iproute2)"
        )


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the roles ship: the project's own Compose file, with a model repository of its own."""
    copy = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "docker-compose.yaml", copy)
    (copy / "model_repository/resnet").mkdir(parents=True)
    (copy / "model_repository/resnet/config.pbtxt").write_text('name: "resnet"\n')
    # A release's image is built under its own name; here one stands in for all.
    compose = copy / "docker-compose.yaml"
    text = compose.read_text()
    own = "${BRIDGE_IMAGE:-triton-kafka-bridge}:${TAG:-latest}"
    assert own in text
    compose.write_text(text.replace(own, "triton-kafka-bridge:latest"))
    return copy


class NewNode(Protocol):
    def __call__(self, name: str, system: System = DEBIAN_12) -> Node: ...


@pytest.fixture(scope="module")
def new_node(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewNode]:
    """Boots fresh machines; all are shut down and removed at the end of the module."""
    need_tools()
    nodes: list[Node] = []

    def make(name: str, system: System = DEBIAN_12) -> Node:
        lab = build(system)
        directory = tmp_path_factory.mktemp(name)
        root = directory / name
        machine = clone(lab.base, root, lab.shared)
        lab_sources(root)
        (root / "srv/pci").mkdir()
        # Stands in for an image registry: what Docker would otherwise pull is there already.
        for store in lab.images.iterdir():
            copy_tree(store, root / "var/lib" / store.name)
        connection = {
            "ansible_host": str(root),
            "ansible_connection": "community.general.chroot",
            "ansible_chroot_exe": str(machine.enter),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        node = Node(
            machine,
            inventory(directory, {name: connection}, gpu=[name], kafka=[name]),
            connection,
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


def inventory(directory: Path, hosts: dict[str, dict[str, str]], **groups: list[str]) -> Path:
    """An inventory file of ``hosts``, with gpu.yaml's groups."""
    children: dict[str, dict[str, dict[str, Any]]] = {
        group: {"hosts": {name: {} for name in groups.get(group, [])}}
        for group in ("gpu", "kafka", "load")
    }
    path = directory / "inventory.json"
    path.write_text(json.dumps({"all": {"hosts": hosts, "children": children}}))
    return path
