"""What a host may be that the roles refuse: a clear message, and the host as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ansible.converge.conftest import H100, P100, NewNode, Node, inventory
from tests.ansible.lab.build import TRITON
from tests.ansible.lab.playbook import run_playbook

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def bare(new_node: NewNode) -> Node:
    """A host on which nothing must ever be changed."""
    return new_node("bare")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {},
            "bare: no NVIDIA GPU on the PCI bus. Choose a machine with one, or set gpu_required",
        ),
        (
            {
                "gpu_required": False,
                "preflight_supported": [{"distribution": "Ubuntu", "version": "24.04"}],
            },
            "bare: Debian 12",
        ),
        ({"gpu_required": False, "preflight_minimum_free_gib": 999999}, "999999 needed"),
        ({"gpu_required": False, "preflight_minimum_kernel": "99.0"}, "is older than 99.0"),
        ({"preflight_minimum_free_gib": "plenty"}, "preflight_minimum_free_gib"),
        # Of roles whose turn would come late.
        ({"gpu_required": False, "serving_start": "perhaps"}, "serving_start"),
        ({"gpu_required": False, "nvidia_driver_flavour": "opened"}, "nvidia_driver_flavour"),
        ({"gpu_required": False, "compose_service_keep": "all"}, "compose_service_keep"),
    ],
    ids=[
        "no GPU",
        "unknown OS",
        "full disk",
        "old kernel",
        "wrong type",
        "wrong flag of a later role",
        "wrong choice of a later role",
        "wrong number of a later role",
    ],
)
def test_a_host_that_cannot_serve_is_refused_before_it_is_touched(
    bare: Node, variables: dict[str, Any], message: str
) -> None:
    outcome = bare.play("gpu.yaml", **variables).failed()
    assert message in outcome.words
    assert outcome.changed == 0
    assert not bare.machine.exists("/etc/apt/keyrings/docker.asc")


def test_secure_boot_is_refused_until_a_key_is_enrolled(bare: Node) -> None:
    entry = bare.machine.root / "srv/pci-with-gpu/0000:01:00.0"
    entry.mkdir(parents=True)
    for name, text in (("vendor", "0x10de"), ("device", H100), ("class", "0x030200")):
        (entry / name).write_text(f"{text}\n")
    efivars = bare.machine.root / "srv/efivars"
    efivars.mkdir()
    # As the kernel shows it: four bytes of attributes, then the value.
    state = efivars / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    state.write_bytes(b"\x06\0\0\0\x01")
    firmware = {"preflight_pci_devices": "/srv/pci-with-gpu", "preflight_efivars": "/srv/efivars"}
    # Nothing but the look at the machine, which has the tag "always".
    look = ["--tags", "none"]

    outcome = bare.play("gpu.yaml", *look, **firmware).failed()
    assert "bare: Secure Boot is on" in outcome.words
    assert "mokutil --import" in outcome.words
    bare.play("gpu.yaml", *look, **firmware, preflight_secure_boot_ok=True).succeeded()
    state.write_bytes(b"\x06\0\0\0\0")
    bare.play("gpu.yaml", *look, **firmware).succeeded()


def test_a_user_without_sudo_is_told_so(bare: Node, tmp_path: Path) -> None:
    bare.machine.run("useradd", "--create-home", "plain")
    enter = tmp_path / "enter"
    as_plain = "setpriv --reuid=plain --regid=plain --clear-groups env HOME=/home/plain"
    enter.write_text(
        f'#!/bin/sh\nroot=$1; shift\nexec {bare.machine.enter} "$root" {as_plain} "$@"\n'
    )
    enter.chmod(0o755)
    hosts = {"bare": bare.connection | {"ansible_chroot_exe": str(enter)}}
    outcome = run_playbook(
        "gpu.yaml",
        inventory(tmp_path, hosts, gpu=["bare"]),
        variables=bare.variables | {"ansible_user": "plain"},
        # Over a chroot connection Ansible takes everyone for root, who needs no sudo.
        environment={"ANSIBLE_BECOME_ALLOW_SAME_USER": "true"},
    ).failed()
    assert "bare: cannot become root (" in outcome.words
    assert "sudo: a password is required)" in outcome.words
    assert "Give user plain sudo rights, or pass --ask-become-pass" in outcome.words
    assert outcome.changed == 0


def test_an_unreachable_apt_source_is_named_and_the_run_can_be_repeated(bare: Node) -> None:
    down = bare.play("gpu.yaml", gpu_required=False, docker_repository="file:/srv/nowhere").failed()
    assert "bare: apt source docker (file:/srv/nowhere" in down.words
    assert not bare.machine.exists("/etc/apt/sources.list.d/docker.sources")
    assert bare.machine.succeeds("apt-get", "update"), "apt works as before"


def test_a_cpu_node_is_set_up_where_no_gpu_is_required(bare: Node) -> None:
    bare.play("gpu.yaml", gpu_required=False).succeeded()
    assert bare.http(8000, "/v2/health/ready")
    assert bare.http(8080, "/health/ready")
    assert not bare.machine.exists("/usr/bin/nvidia-ctk")
    bare.play("gpu.yaml", gpu_required=False).changed_nothing()


def test_pascal_gets_its_own_driver_modules_and_an_older_triton_or_a_clear_no(
    new_node: NewNode,
) -> None:
    node = new_node("pascal")
    node.add_gpus((P100, "6.0"))

    refused = node.play("gpu.yaml", serving_triton_tag=TRITON).failed()
    assert f"pascal: Triton {TRITON} needs compute capability 7.5, the GPU has 6.0" in refused.words
    assert 'Set serving_triton_tag to "24.07" or to auto' in refused.words
    assert node.machine.succeeds("dpkg", "--status", "cuda-drivers")
    assert not node.machine.succeeds("dpkg", "--status", "nvidia-open")

    opened = node.play("gpu.yaml", serving_bind_address="0.0.0.0").failed()
    assert "pascal: Triton 24.07 gets no fixes any more" in opened.words

    node.play("gpu.yaml").succeeded()
    assert "tritonserver:24.07-py3" in node.machine.run("docker", "ps")


def test_a_new_driver_reboots_only_when_the_old_one_is_in_its_way(
    new_node: NewNode,
) -> None:
    node = new_node("driver")
    node.add_gpus((H100, "9.0"))
    # The repository is there already, as in images with CUDA: with a second source and another key
    # apt would read neither.
    keyring = node.machine.root / "usr/share/keyrings/theirs.asc"
    keyring.write_text((node.machine.shared / "key.asc").read_text())
    (node.machine.root / "etc/apt/sources.list.d/theirs.list").write_text(
        "deb [signed-by=/usr/share/keyrings/theirs.asc] file:/srv/lab/apt/nvidia /\n"
    )
    node.machine.run("apt-get", "update")
    node.play(
        "gpu.yaml", "--tags", "driver", nvidia_driver_branch="470", nvidia_driver_reboot=False
    ).succeeded()

    assert not node.machine.exists("/etc/apt/sources.list.d/nvidia-driver.sources")

    old = node.play(
        "gpu.yaml", "--tags", "toolkit", nvidia_container_toolkit_minimum_driver="535"
    ).failed()
    assert "driver: driver 470.256.02; the container toolkit needs 535 or later" in old.words

    stopped = node.play("gpu.yaml", "--tags", "driver", nvidia_driver_reboot=False).failed()
    assert (
        "driver: the new driver needs a reboot, and nvidia_driver_reboot is false" in stopped.words
    )
    boot = node.machine.run("cat", "/proc/sys/kernel/random/boot_id")
    node.play("gpu.yaml", "--tags", "driver").succeeded()
    assert node.machine.run("cat", "/proc/sys/kernel/random/boot_id") != boot
    # New enough, it is left alone: not even its source is looked at.
    node.play(
        "gpu.yaml", "--tags", "driver", nvidia_driver_repository="file:/srv/nowhere"
    ).changed_nothing()
