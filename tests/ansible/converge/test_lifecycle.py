"""The life of a GPU node, in order, on one machine: from nothing to serving to nothing again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ansible.converge.conftest import H100, NewNode, Node
from tests.ansible.lab.build import TRITON
from tests.ansible.lab.driver import LIBRARIES
from tests.ansible.lab.network import network, reaches
from tests.ansible.lab.playbook import Outcome

pytestmark = pytest.mark.timeout(7200)

Deploy = Callable[[int, str], Outcome]
UNITS = (
    "triton-kafka-kafka.service",
    "triton-kafka-main.service",
    "triton-kafka-firewall.service",
    "nvidia-cdi-spec.service",
    "docker.service",
)


@pytest.fixture(scope="module")
def node(new_node: NewNode) -> Node:
    node = new_node("gpu-node")
    node.add_gpus((H100, "9.0"), (H100, "9.0"))
    return node


@pytest.fixture(scope="module")
def bare(node: Node) -> tuple[dict[str, str], set[str]]:
    """Packages and files before anything was done."""
    return packages(node), files(node)


# Of the packages, nftables with what it needs stays: other rules may be in it by now.
NOT_REMOVED = {
    "nftables", "libnftables1", "libnftnl11", "libjansson4", "libmnl0", "libedit2", "netbase",
}  # fmt: skip
# Bytecode, the state of apt and systemd, Ansible's own files.
CHANGES = re.compile(r"__pycache__|^/var/lib/(apt|dpkg|systemd)/|^/root/\.ansible")
MAY_STAY = re.compile(
    r"/(usr|etc/nftables"
    r"|etc/(ethertypes|hosts|networks|protocols|rpc|services)$"  # netbase's
    r"|var/lib/(dpkg|apt|systemd)|root/.ansible)"
)
# What a value may hold that a shell, Compose or a file of settings could take for its own.
PASSWORD = "pa$$word ${HOME} #1 'quoted' \"twice\" \\n"


def packages(node: Node) -> dict[str, str]:
    listed = node.machine.run(
        "dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\\n"
    )
    return {
        name: version
        for status, name, version in map(str.split, listed.splitlines())
        if status == "installed"
    }


def container(node: Node, service: str, instance: str = "main") -> str:
    labels = {"service": service, "project": f"triton-kafka-{instance}"}
    filters = [f"--filter=label=com.docker.compose.{name}={v}" for name, v in labels.items()]
    return node.machine.run("docker", "ps", "--quiet", *filters).strip()


def gpus_of(node: Node, instance: str = "main") -> list[str]:
    """What nvidia-smi sees in an instance's Triton."""
    triton = container(node, "triton", instance)
    return node.machine.run("docker", "exec", triton, "nvidia-smi", "--query-gpu=uuid").splitlines()


def setting(node: Node, name: str) -> str | None:
    """A variable of the running bridge's environment."""
    listed = node.machine.run("docker", "exec", container(node, "bridge"), "env")
    found = re.search(rf"^{name}=(.*)$", listed, re.MULTILINE)
    return found[1] if found else None


def files(node: Node) -> set[str]:
    """All that does not change by itself."""
    listed = node.machine.run("find", "/etc", "/opt", "/usr", "/var/lib", "/root", "-xdev")
    return {path for path in listed.splitlines() if not CHANGES.search(path)}


def test_check_mode_on_a_fresh_host_succeeds_and_changes_nothing(
    node: Node, bare: tuple[dict[str, str], set[str]]
) -> None:
    node.play("gpu.yaml", "--check", "--diff").succeeded()
    assert packages(node) == bare[0]
    assert sorted(files(node) - bare[1]) == []


def test_one_run_takes_a_bare_host_to_a_healthy_service(node: Node) -> None:
    node.play("gpu.yaml").succeeded()

    assert node.http(8000, "/v2/health/ready")
    assert node.http(8080, "/health/ready")
    assert all(node.machine.succeeds("systemctl", "is-active", unit) for unit in UNITS)
    assert all(node.machine.succeeds("systemctl", "is-enabled", unit) for unit in UNITS)
    installed = packages(node)
    assert installed["docker-ce"] == "5:29.9.2-1"
    assert installed["nvidia-container-toolkit"] == "1.17.8-1"
    for package in ("nvidia-open", *LIBRARIES):
        assert installed[package] == "580.105.08-1", "the newest of the pinned branch, not 595"
    source = node.machine.read("/etc/apt/sources.list.d/docker.sources")
    assert "Signed-By: /etc/apt/keyrings/docker.asc" in source
    daemon = json.loads(node.machine.read("/etc/docker/daemon.json"))
    assert daemon["live-restore"] is True
    assert daemon["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"
    spec = json.loads(node.machine.read("/etc/cdi/nvidia.yaml"))
    assert [device["name"] for device in spec["devices"]] == ["0", "1", "all"]
    assert f"tritonserver:{TRITON}-py3" in node.machine.run("docker", "ps")
    assert setting(node, "BRIDGE_BROKERS") == "kafka:29092"
    broker = ["wget", "-q", "-O", "-", "http://kafka:9092/health/ready"]
    assert node.machine.succeeds("docker", "exec", container(node, "bridge"), *broker)


def test_docker_gives_gpus_to_the_hosts_other_containers_as_before(node: Node) -> None:
    image = ["ubuntu:24.04", "cat", "/dev/null"]
    node.machine.run("docker", "run", "--rm", "--network=none", "--gpus=all", *image)


def test_a_second_run_changes_nothing(node: Node) -> None:
    node.play("gpu.yaml").changed_nothing()


def test_check_mode_on_a_finished_host_reports_no_change(node: Node) -> None:
    node.play("gpu.yaml", "--check", "--diff").changed_nothing()


def test_gpus_and_service_survive_daemon_reload_and_a_reboot(node: Node) -> None:
    node.machine.run("systemctl", "daemon-reload")
    assert gpus_of(node) == ["GPU-00000000", "GPU-00000001"]
    (node.machine.root / "etc/cdi/nvidia.yaml").unlink()

    node.machine.reboot()

    assert node.machine.exists("/etc/cdi/nvidia.yaml")
    assert node.http(8000, "/v2/health/ready")
    assert node.http(8080, "/health/ready")


def test_ports_are_closed_to_other_machines_but_where_they_were_opened(node: Node) -> None:
    with network() as lan:
        address = lan.attach(node.machine)
        node.play(
            "gpu.yaml",
            "--tags",
            "firewall,serving",
            serving_bind_address="0.0.0.0",
            firewall_allow=[{"port": 8000, "sources": [lan.subnet]}],
        ).succeeded()
        assert "0.0.0.0:8080->8080" in node.machine.run("docker", "ps", "--format", "{{.Ports}}")
        assert node.http(8080, "/health/ready")
        assert reaches(address, 8000)
        assert not reaches(address, 8080)
        node.machine.run("systemctl", "stop", "triton-kafka-firewall.service")
        assert reaches(address, 8080), "it was the firewall"


def test_an_upgrade_drains_the_bridge_while_triton_still_answers(node: Node) -> None:
    cursor = (
        node.machine.run("journalctl", "--show-cursor", "--lines=0", "--quiet")
        .split("cursor: ")[1]
        .strip()
    )

    outcome = node.play(
        "gpu.yaml",
        "--diff",
        "-vvv",
        docker_version="5:29.9.3-*",
        nvidia_container_toolkit_version="1.20.2-1",
        serving_environment={"BRIDGE_MAX_INFLIGHT": "8"},
        serving_secrets={"BRIDGE_KAFKA_PASSWORD": PASSWORD},
    ).succeeded()

    journal = node.machine.run(
        "journalctl", "--unit=triton-kafka-main.service", f"--after-cursor={cursor}"
    )
    assert "bridge-1  Stopped" in journal
    assert journal.index("bridge-1  Stopped") < journal.index("triton-1  Stopping")
    assert packages(node)["docker-ce"] == "5:29.9.3-1"
    assert packages(node)["libnvidia-container1"] == "1.20.2-1"
    assert node.machine.exists("/etc/cdi/nvidia.yaml")
    theirs = ["test", "-e", "/run/cdi/nvidia.yaml"]
    assert not node.machine.succeeds(*theirs), "one unit makes the specification"
    assert not node.machine.succeeds("systemctl", "is-active", "nvidia-cdi-refresh.path")
    assert "0.0.0.0:" not in node.machine.run("docker", "ps", "--format", "{{.Ports}}")
    assert setting(node, "BRIDGE_MAX_INFLIGHT") == "8"
    assert setting(node, "BRIDGE_KAFKA_PASSWORD") == PASSWORD
    assert "pa$$word" not in outcome.output
    settings = node.machine.root / "opt/triton-kafka/serving/current/service.env"
    assert settings.stat().st_mode & 0o777 == 0o600
    assert node.http(8080, "/health/ready")


def test_each_instance_has_the_gpus_that_were_given_to_it(node: Node) -> None:
    node.play(
        "gpu.yaml",
        "--tags",
        "firewall,serving",
        serving_instances=[
            {"name": "a", "gpus": ["0"]},
            {"name": "b", "gpus": ["1"], "port_offset": 100},
        ],
    ).succeeded()
    assert gpus_of(node, "a") == ["GPU-00000000"]
    assert gpus_of(node, "b") == ["GPU-00000001"]
    assert node.http(8000, "/v2/health/ready")
    assert node.http(8180, "/health/ready")
    assert not node.machine.exists("/etc/systemd/system/triton-kafka-main.service")
    assert "8180" in node.machine.run("nft", "list", "table", "inet", "triton_kafka")


def test_rollback_runs_the_release_before_again_with_its_instances(node: Node) -> None:
    node.play("rollback.yaml").succeeded()
    assert gpus_of(node) == ["GPU-00000000", "GPU-00000001"]
    assert setting(node, "BRIDGE_MAX_INFLIGHT") == "8"
    assert node.http(8080, "/health/ready")
    assert node.machine.succeeds("systemctl", "is-enabled", "triton-kafka-main.service")
    assert not node.machine.exists("/etc/systemd/system/triton-kafka-a.service")


def test_a_release_that_is_not_healthy_is_taken_back_by_itself(node: Node) -> None:
    outcome = node.play(
        "gpu.yaml",
        "--tags",
        "serving",
        serving_environment={"BRIDGE_BROKEN": "1"},
        compose_service_health_retries=3,
    ).failed()
    assert "gpu-node: serving did not become healthy" in outcome.words
    assert "The release before it runs again" in outcome.words
    assert node.http(8080, "/health/ready")


def test_a_changed_model_configuration_is_shipped_and_read(node: Node) -> None:
    shipped = Path(str(node.variables["serving_source"])) / "model_repository/resnet/config.pbtxt"
    shipped.write_text('name: "resnet"\nmax_batch_size: 32\n')
    service = ["systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "triton-kafka-main"]
    before = node.machine.run(*service)

    node.play("gpu.yaml", "--tags", "serving").succeeded()

    there = node.machine.read("/var/lib/triton-kafka/model_repository/resnet/config.pbtxt")
    assert there == shipped.read_text()
    assert node.machine.run(*service) != before, "Triton reads its repository when it starts"
    assert node.http(8080, "/health/ready")


@pytest.fixture
def deploy(node: Node, tmp_path: Path) -> Deploy:
    def play(version: int, content: str) -> Outcome:
        (tmp_path / "model.pt").write_text(content)
        return node.play(
            "deploy_model.yaml",
            model_name="resnet",
            model_version=version,
            model_files=str(tmp_path),
            model_version_health_retries=5,
            model_version_health_delay=1,
        )

    return play


def versions(node: Node) -> set[str]:
    """Versions that Triton says it serves."""
    return {v for v in "123" if node.http(8000, f"/v2/models/resnet/versions/{v}/ready")}


def test_a_model_version_is_deployed_served_and_taken_away(node: Node, deploy: Deploy) -> None:
    deploy(1, "first").succeeded()
    deploy(2, "second").succeeded()
    assert versions(node) == {"1", "2"}
    deploy(2, "second").changed_nothing()
    refused = deploy(2, "another").failed()
    assert "version 2 of resnet is there already, with other content" in refused.words
    node.play(
        "deploy_model.yaml", model_name="resnet", model_version=2, model_state="absent"
    ).succeeded()
    assert versions(node) == {"1"}


def test_a_model_version_that_triton_cannot_load_is_taken_back(node: Node, deploy: Deploy) -> None:
    outcome = deploy(3, "broken").failed()
    assert "gpu-node: version 3 of resnet is not served" in outcome.words
    assert "It was taken away again" in outcome.words
    assert versions(node) == {"1"}
    assert node.http(8080, "/health/ready")


def test_the_only_version_of_a_model_is_not_taken_away(node: Node) -> None:
    outcome = node.play(
        "deploy_model.yaml", model_name="resnet", model_version=1, model_state="absent"
    ).failed()
    assert "version 1 is the only one of resnet" in outcome.words


def test_teardown_leaves_the_host_clean(node: Node, bare: tuple[dict[str, str], set[str]]) -> None:
    everything = dict.fromkeys(
        ("teardown_data", "teardown_docker", "teardown_toolkit", "teardown_driver"), True
    )
    node.play("teardown.yaml", **everything).succeeded()

    assert packages(node).keys() - bare[0].keys() <= NOT_REMOVED
    assert sorted(left for left in files(node) - bare[1] if not MAY_STAY.match(left)) == []
    assert "triton_kafka" not in node.machine.run("nft", "list", "tables")
    node.play("teardown.yaml", **everything).changed_nothing()
