"""What a host may be that the roles refuse: a clear message, and the host as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ansible.converge.conftest import H100, P100, Node

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def bare(new_node: Callable[[str], Node]) -> Node:
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
    ],
    ids=["no GPU", "unknown OS", "full disk", "old kernel", "wrong type"],
)
def test_a_host_that_cannot_serve_is_refused_before_it_is_touched(
    bare: Node, variables: dict[str, Any], message: str
) -> None:
    outcome = bare.play("gpu.yaml", **variables).failed()
    assert message in outcome.words
    assert outcome.changed == 0
    assert not bare.machine.exists("/etc/apt/keyrings/docker.asc")


def test_a_user_without_sudo_is_told_so(bare: Node) -> None:
    if not bare.machine.succeeds("id", "plain"):
        bare.machine.run("useradd", "plain")
    outcome = bare.play(
        "gpu.yaml", ansible_become_method="su", ansible_become_user="nobody-there"
    ).failed()
    assert "bare: cannot become root" in outcome.words
    assert "--ask-become-pass" in outcome.words


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
    assert bare.play("gpu.yaml", gpu_required=False).succeeded().changed == 0


def test_pascal_gets_its_own_driver_modules_and_an_older_triton_or_a_clear_no(
    new_node: Callable[[str], Node],
) -> None:
    node = new_node("pascal")
    node.add_gpus((P100, "6.0"))

    refused = node.play("gpu.yaml", serving_triton_tag="26.07").failed()
    assert "pascal: Triton 26.07 needs compute capability 7.5, the GPU has 6.0" in refused.words
    assert 'Set serving_triton_tag to "24.07" or to auto' in refused.words
    assert node.machine.succeeds("dpkg", "--status", "cuda-drivers")
    assert not node.machine.succeeds("dpkg", "--status", "nvidia-open")

    node.play("gpu.yaml").succeeded()
    assert "tritonserver:24.07-py3" in node.machine.run("docker", "ps")


def test_a_new_driver_reboots_only_when_the_old_one_is_in_its_way(
    new_node: Callable[[str], Node],
) -> None:
    node = new_node("driver")
    node.add_gpus((H100, "9.0"))
    node.play(
        "gpu.yaml", "--tags", "driver", nvidia_driver_branch="470", nvidia_driver_reboot=False
    ).succeeded()

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
    assert node.play("gpu.yaml", "--tags", "driver").succeeded().changed == 0
