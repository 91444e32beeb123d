"""The life of a GPU node, in order, on one machine: from nothing to serving to nothing again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ansible.converge.conftest import H100, Node

pytestmark = pytest.mark.timeout(900)

UNITS = (
    "triton-kafka-kafka.service",
    "triton-kafka-main.service",
    "triton-kafka-firewall.service",
    "nvidia-cdi-spec.service",
    "docker.service",
)


@pytest.fixture(scope="module")
def node(new_node: Callable[[str], Node]) -> Node:
    node = new_node("gpu-node")
    node.add_gpus((H100, "9.0"), (H100, "9.0"))
    return node


def packages(node: Node) -> dict[str, str]:
    listed = node.machine.run(
        "dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\\n"
    )
    return {
        name: version
        for status, name, version in map(str.split, listed.splitlines())
        if status == "installed"
    }


def container(node: Node, service: str) -> str:
    return node.machine.run(
        "docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.service={service}"
    ).strip()


def test_check_mode_on_a_fresh_host_succeeds_and_changes_nothing(node: Node) -> None:
    before = packages(node)
    node.play("gpu.yaml", "--check", "--diff").succeeded()
    assert packages(node) == before
    assert not node.machine.exists("/etc/apt/keyrings/docker.asc")
    assert not node.machine.exists("/opt/triton-kafka")


def test_one_run_takes_a_bare_host_to_a_healthy_service(node: Node) -> None:
    node.play("gpu.yaml").succeeded()

    assert node.http(8000, "/v2/health/ready")
    assert node.http(8080, "/health/ready")
    assert all(node.machine.succeeds("systemctl", "is-active", unit) for unit in UNITS)
    assert all(node.machine.succeeds("systemctl", "is-enabled", unit) for unit in UNITS)
    installed = packages(node)
    assert installed["docker-ce"] == "5:28.5.1-1"
    assert installed["nvidia-container-toolkit"] == "1.17.8-1"
    assert installed["nvidia-open"] == "580.105.08-1", "the newest of the pinned branch, not 595"
    source = node.machine.read("/etc/apt/sources.list.d/docker.sources")
    assert "Signed-By: /etc/apt/keyrings/docker.asc" in source
    daemon = json.loads(node.machine.read("/etc/docker/daemon.json"))
    assert daemon["live-restore"] is True
    assert daemon["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"
    spec = json.loads(node.machine.read("/etc/cdi/nvidia.yaml"))
    assert [device["name"] for device in spec["devices"]] == ["0", "1", "all"]
    assert "tritonserver:26.07-py3" in node.machine.run("docker", "ps")
    bridge = container(node, "bridge")
    assert "BRIDGE_BROKERS=kafka:29092" in node.machine.run("docker", "exec", bridge, "env")
    assert node.machine.succeeds(
        "docker", "exec", bridge, "wget", "-q", "-O", "-", "http://kafka:9092/health/ready"
    )


def test_a_second_run_changes_nothing(node: Node) -> None:
    assert node.play("gpu.yaml").succeeded().changed == 0


def test_check_mode_on_a_finished_host_reports_no_change(node: Node) -> None:
    assert node.play("gpu.yaml", "--check", "--diff").succeeded().changed == 0


def test_ports_are_closed_to_other_machines_and_open_inside(node: Node) -> None:
    rules = node.machine.run("nft", "list", "table", "inet", "triton_kafka")
    assert "tcp dport { 8000, 8001, 8002, 8080, 9090, 9092, 9093 } drop" in rules
    assert "0.0.0.0:" not in node.machine.run("docker", "ps", "--format", "{{.Ports}}")


def test_gpus_and_service_survive_daemon_reload_and_a_reboot(node: Node) -> None:
    node.machine.run("systemctl", "daemon-reload")
    seen = node.machine.run(
        "docker", "exec", container(node, "triton"), "nvidia-smi", "--query-gpu=uuid"
    )
    assert seen.splitlines() == ["GPU-00000000", "GPU-00000001"]
    (node.machine.root / "etc/cdi/nvidia.yaml").unlink()

    node.machine.reboot()

    assert node.machine.exists("/etc/cdi/nvidia.yaml")
    assert node.http(8000, "/v2/health/ready")
    assert node.http(8080, "/health/ready")


def test_an_upgrade_drains_the_bridge_while_triton_still_answers(node: Node) -> None:
    cursor = (
        node.machine.run("journalctl", "--show-cursor", "--lines=0", "--quiet")
        .split("cursor: ")[1]
        .strip()
    )

    node.play(
        "gpu.yaml",
        docker_version="5:28.5.2-*",
        nvidia_container_toolkit_version="1.18.1-1",
        serving_environment={"BRIDGE_MAX_INFLIGHT": "8"},
    ).succeeded()

    journal = node.machine.run(
        "journalctl", "--unit=triton-kafka-main.service", f"--after-cursor={cursor}"
    )
    assert "bridge-1  Stopped" in journal
    assert journal.index("bridge-1  Stopped") < journal.index("triton-1  Stopping")
    assert packages(node)["docker-ce"] == "5:28.5.2-1"
    assert packages(node)["libnvidia-container1"] == "1.18.1-1"
    assert "BRIDGE_MAX_INFLIGHT=8" in node.machine.read(
        "/opt/triton-kafka/serving/current/service.env"
    )
    assert node.http(8080, "/health/ready")


def test_rollback_runs_the_release_before_again(node: Node) -> None:
    node.play("rollback.yaml").succeeded()
    assert "MAX_INFLIGHT" not in node.machine.read("/opt/triton-kafka/serving/current/service.env")
    assert node.http(8080, "/health/ready")


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


def test_a_model_version_is_deployed_served_and_taken_away(node: Node, tmp_path: Path) -> None:
    for version in (1, 2):
        (tmp_path / "model.pt").write_text(f"version {version}")
        # The stand-in for Triton answers for whatever pages its image has; the readiness of a model
        # version is the one address it cannot know, so it is not asked here.
        node.play(
            "deploy_model.yaml",
            model_name="resnet",
            model_version=version,
            model_files=str(tmp_path),
            serving_start=False,
        ).succeeded()
    assert (
        node.machine.read("/var/lib/triton-kafka/model_repository/resnet/2/model.pt") == "version 2"
    )
    node.play(
        "deploy_model.yaml", model_name="resnet", model_version=2, model_state="absent"
    ).succeeded()
    assert not node.machine.exists("/var/lib/triton-kafka/model_repository/resnet/2")
    assert node.http(8000, "/v2/health/ready")


def test_the_only_version_of_a_model_is_not_taken_away(node: Node) -> None:
    outcome = node.play(
        "deploy_model.yaml", model_name="resnet", model_version=1, model_state="absent"
    ).failed()
    assert "version 1 is the only one of resnet" in outcome.words


def test_teardown_leaves_the_host_clean(node: Node) -> None:
    everything = dict.fromkeys(
        ("teardown_data", "teardown_docker", "teardown_toolkit", "teardown_driver"), True
    )
    node.play("teardown.yaml", **everything).succeeded()

    left = [
        path
        for path in (
            "/opt/triton-kafka",
            "/etc/triton-kafka",
            "/var/lib/triton-kafka",
            "/etc/docker",
            "/var/lib/docker",
            "/etc/cdi/nvidia.yaml",
            "/etc/apt/sources.list.d/docker.sources",
            "/etc/apt/keyrings/nvidia-driver.asc",
            "/etc/apt/preferences.d/nvidia-container-toolkit",
            "/etc/systemd/system/nvidia-cdi-spec.service",
            "/etc/systemd/system/triton-kafka-main.service",
        )
        if node.machine.exists(path)
    ]
    assert left == []
    assert not {"docker-ce", "nvidia-open", "nvidia-container-toolkit"} & packages(node).keys()
    assert "triton_kafka" not in node.machine.run("nft", "list", "tables")
    assert node.play("teardown.yaml", **everything).succeeded().changed == 0
