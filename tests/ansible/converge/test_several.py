"""Several machines on one network: brokers, GPU nodes and load generators as groups."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ansible.converge.conftest import NewNode, Node, inventory
from tests.ansible.lab.network import network, reaches

pytestmark = pytest.mark.timeout(7200)


@dataclass
class Pipeline:
    """``first`` has a broker and a GPU node's service, ``second`` the service and the load."""

    first: Node
    second: Node
    addresses: dict[str, str]
    inventory: Path

    @property
    def authority(self) -> Path:
        return self.inventory.parent / "kafka-authority"


@pytest.fixture(scope="module")
def pipeline(new_node: NewNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    first, second = new_node("first"), new_node("second")
    with network() as lan:
        addresses = {"first": lan.attach(first.machine), "second": lan.attach(second.machine)}
        hosts = {
            name: node.connection | {"kafka_address": addresses[name]}
            for name, node in (("first", first), ("second", second))
        }
        listed = inventory(
            tmp_path_factory.mktemp("pipeline"),
            hosts,
            kafka=["first"],
            gpu=["first", "second"],
            load=["second"],
        )
        first.inventory = listed
        first.variables |= {
            "gpu_required": False,
            "load_generator_files": ["docker-compose.yaml"],
            "load_generator_source": first.variables["serving_source"],
        }
        yield Pipeline(first, second, addresses, listed)


def job(node: Node, service: str) -> str:
    label = f"--filter=label=com.docker.compose.service={service}"
    return node.machine.run("docker", "ps", "--all", "--quiet", label).strip()


def bridge(node: Node) -> str:
    return job(node, "bridge")


def bridge_setting(node: Node, name: str = "BRIDGE_BROKERS") -> str:
    listed = node.machine.run("docker", "exec", bridge(node), "env")
    return next(line for line in listed.splitlines() if line.startswith(f"{name}="))


def test_one_command_sets_up_a_pipeline_across_machines(pipeline: Pipeline) -> None:
    pipeline.first.play("gpu.yaml").succeeded()
    broker = pipeline.addresses["first"]
    for node in (pipeline.first, pipeline.second):
        assert node.http(8000, "/v2/health/ready")
        assert node.http(8080, "/health/ready")
        assert bridge_setting(node).startswith("BRIDGE_BROKERS=")
    assert bridge_setting(pipeline.second) == f"BRIDGE_BROKERS={broker}:9092"
    for node in (pipeline.first, pipeline.second):
        kafka = json.loads(bridge_setting(node, "BRIDGE_KAFKA").partition("=")[2])
        assert kafka["security.protocol"] == "SASL_SSL"
        assert kafka["ssl.ca.location"] == "/certificates/ca.pem"
        there = ["docker", "exec", bridge(node), "cat", "/certificates/ca.pem"]
        assert node.machine.run(*there) == (pipeline.authority / "ca.pem").read_text()
        password = (pipeline.authority / "password").read_text()
        assert bridge_setting(node, "BRIDGE_KAFKA_PASSWORD") == f"BRIDGE_KAFKA_PASSWORD={password}"
    users = pipeline.first.machine.run("docker", "logs", job(pipeline.first, "users"))
    assert "--entity-name pipeline --add-config-file /users/pipeline.properties" in users
    reach = ["wget", "-q", "-O", "-", f"http://{broker}:9092/health/ready"]
    assert pipeline.second.machine.succeeds("busybox", *reach), "another node reaches the broker"
    assert not reaches(broker, 9092), "no other machine does"
    listed = pipeline.first.machine.run("docker", "ps", "--format", "{{.Ports}}")
    assert "0.0.0.0:9092" not in listed
    assert f"{broker}:9092->9092" in listed
    assert not pipeline.second.machine.exists("/etc/systemd/system/triton-kafka-kafka.service")

    pipeline.first.play("gpu.yaml").changed_nothing()


def test_load_is_shipped_but_never_started_by_itself(pipeline: Pipeline) -> None:
    machine = pipeline.second.machine
    settings = machine.read("/opt/triton-kafka/load/current/service.env")
    assert f'PRODUCER_BROKERS="{pipeline.addresses["first"]}:9092"' in settings
    assert not machine.succeeds("systemctl", "is-enabled", "triton-kafka-load.service")
    assert not machine.succeeds("systemctl", "is-active", "triton-kafka-load.service")
    compose = ["docker", "compose", "--project-directory", "/opt/triton-kafka/load/current"]
    files = ["docker-compose.yaml", "node-load.yaml"]
    names = [f"--file=/opt/triton-kafka/load/current/{name}" for name in files]
    names.append("--env-file=/opt/triton-kafka/load/current/service.env")
    shown = machine.run(*compose, *names, "config", "--format", "json", "producer")
    producer = json.loads(shown)["services"]["producer"]
    assert producer["environment"]["PRODUCER_BROKERS"] == f"{pipeline.addresses['first']}:9092"
    given = dict(pair.split("=", 1) for pair in producer["environment"]["PRODUCER_KAFKA"].split())
    assert given["sasl.password"] == (pipeline.authority / "password").read_text()
    assert [v["source"] for v in producer["volumes"]] == ["/etc/triton-kafka/certificates"]


def test_a_bad_release_stops_at_the_first_node_and_the_others_keep_serving(
    pipeline: Pipeline,
) -> None:
    show = ["systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "triton-kafka-main"]
    before = pipeline.second.machine.run(*show)
    outcome = pipeline.first.play(
        "gpu.yaml",
        "--tags",
        "serving",
        serving_environment={"BRIDGE_BROKEN": "1"},
        compose_service_health_retries=3,
    ).failed()
    assert "first: serving did not become healthy" in outcome.words
    assert pipeline.first.http(8080, "/health/ready"), "taken back"
    assert pipeline.second.machine.run(*show) == before, "not touched"
    assert pipeline.second.http(8080, "/health/ready")


def test_a_cluster_of_brokers_has_one_quorum_and_copies_on_three(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Three names for one machine: what would be written, in check mode."""
    names = ["k1", "k2", "k3"]
    hosts = {
        name: pipeline.second.connection | {"kafka_address": f"10.0.0.{index}"}
        for index, name in enumerate(names, 1)
    }
    node = Node(
        pipeline.second.machine,
        inventory(tmp_path, hosts, kafka=names),
        pipeline.second.connection,
        pipeline.first.variables,
    )
    words = (
        node.play("gpu.yaml", "--check", "--diff", "--tags", "kafka", "--limit", "k2")
        .succeeded()
        .words
    )
    quorum = "1@10.0.0.1:9093,2@10.0.0.2:9093,3@10.0.0.3:9093"
    assert f'KAFKA_CONTROLLER_QUORUM_VOTERS: "{quorum}"' in words
    assert 'KAFKA_NODE_ID: "2"' in words
    assert "HOST://10.0.0.2:9092" in words
    assert "REPLICATION://10.0.0.2:9094" in words
    assert 'KAFKA_DEFAULT_REPLICATION_FACTOR: "3"' in words
    assert 'KAFKA_MIN_INSYNC_REPLICAS: "2"' in words
    assert 'REPLICATION_FACTOR: "3"' in words
