"""The other systems that the roles are written for: from nothing to serving to nothing again."""

from __future__ import annotations

import pytest

from tests.ansible.converge.conftest import H100, P100, NewNode, Node
from tests.ansible.lab.build import DEBIAN_13, TRITON, UBUNTU_22_04, UBUNTU_24_04, UBUNTU_26_04
from tests.ansible.lab.driver import LIBRARIES, NEWER, OLDER

pytestmark = pytest.mark.timeout(7200)
SYSTEMS = {
    "debian13": DEBIAN_13,
    "ubuntu2604": UBUNTU_26_04,
    "ubuntu2404": UBUNTU_24_04,
    "ubuntu2204": UBUNTU_22_04,
}
# The newest of branch 580, or of 595 where the repository has no 580.
DRIVERS = {
    "debian13": NEWER[1],
    "ubuntu2604": NEWER[1],
    "ubuntu2404": OLDER[-1],
    "ubuntu2204": OLDER[-1],
}
REPOSITORY = "https://developer.download.nvidia.com/compute/cuda/repos/{}/x86_64/"


@pytest.fixture(scope="module", params=SYSTEMS)
def node(new_node: NewNode, request: pytest.FixtureRequest) -> Node:
    node = new_node(request.param, SYSTEMS[request.param])
    node.add_gpus((H100, "9.0"))
    return node


def test_sources_that_cannot_be_reached_are_those_of_the_system(node: Node) -> None:
    name = node.machine.root.name
    driver = node.play(
        "gpu.yaml", "--tags", "driver", nvidia_driver_repository=None, nvidia_driver_key_url=None
    ).failed()
    assert f"{name}: apt source nvidia-driver ({REPOSITORY.format(name)}, key" in driver.words
    docker = node.play(
        "gpu.yaml", "--tags", "docker", docker_repository=None, docker_key_url=None
    ).failed()
    distribution = SYSTEMS[name].distribution
    assert (
        f"{name}: apt source docker (https://download.docker.com/linux/{distribution}"
        in docker.words
    )


def test_pascal_is_refused_where_nvidia_has_no_driver_for_it(node: Node) -> None:
    entry = node.machine.root / "srv/pci-with-pascal/0000:01:00.0"
    entry.mkdir(parents=True)
    for file, text in (("vendor", "0x10de"), ("device", P100), ("class", "0x030200")):
        (entry / file).write_text(f"{text}\n")
    places = {
        "preflight_pci_devices": "/srv/pci-with-pascal",
        "nvidia_driver_repository": "file:/srv/nowhere",
    }
    name = node.machine.root.name
    if DRIVERS[name] in NEWER:
        refused = node.play("gpu.yaml", **places).failed()
        assert f"{name}: driver 595 does not support its GPUs" in refused.words
        assert "which need 580 or older. NVIDIA has no such driver for" in refused.words
        assert refused.changed == 0, "not even the broker of the same machine"
    else:
        looked_for = node.play("gpu.yaml", "--tags", "driver", **places).failed()
        assert f"{name}: apt source nvidia-driver (file:/srv/nowhere" in looked_for.words


def test_one_run_takes_it_to_a_healthy_service_and_a_second_changes_nothing(node: Node) -> None:
    node.play("gpu.yaml").succeeded()
    assert node.http(8000, "/v2/health/ready")
    assert node.http(8080, "/health/ready")
    assert f"tritonserver:{TRITON}-py3" in node.machine.run("docker", "ps")
    installed = node.machine.run("dpkg-query", "--show", "nvidia-open", *LIBRARIES)
    assert set(installed.split()[1::2]) == {DRIVERS[node.machine.root.name]}
    node.play("gpu.yaml").changed_nothing()
    node.play("gpu.yaml", "--check", "--diff").changed_nothing()


def test_it_serves_after_a_reboot(node: Node) -> None:
    node.machine.reboot()
    assert node.http(8000, "/v2/health/ready")
    assert node.http(8080, "/health/ready")


def test_teardown_takes_everything_away(node: Node) -> None:
    everything = dict.fromkeys(
        ("teardown_data", "teardown_docker", "teardown_toolkit", "teardown_driver"), True
    )
    node.play("teardown.yaml", **everything).succeeded()
    assert not node.machine.exists("/opt/triton-kafka")
    for package in ("docker-ce", "nvidia-open", "nvidia-container-toolkit"):
        assert not node.machine.succeeds("dpkg", "--status", package)
    node.play("teardown.yaml", **everything).changed_nothing()
