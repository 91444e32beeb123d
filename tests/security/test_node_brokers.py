"""Brokers that other hosts need ask who is there: ansible/roles/kafka's, on real Kafka."""

import json
import socket
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from bridge.kafka.clients import make_consumer, make_producer
from bridge.loading import load
from cli.options import kafka_options
from stack.ports import HOST
from stack.topics import create_topics
from tests.security.nodes import PLAYBOOK, NodeBroker, Nodes, running
from tests.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PLAYBOOK.exists(), reason="make ansible-venv installs Ansible"),
]
CAMERA = "horse=battery\\staple:#1"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    made = Nodes(tmp_path_factory.mktemp("nodes"), ["k1", "k2"])
    done = made.play(kafka_users={"camera-1": CAMERA})
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(scope="module")
def brokers(nodes: Nodes) -> Iterator[list[NodeBroker]]:
    with running(nodes) as started:
        yield started


def create(brokers: list[NodeBroker], copies: int) -> str:
    topic = uuid.uuid4().hex
    create_topics(brokers[0].bootstrap, {topic: 2}, replication_factor=copies)
    return topic


def test_a_bridge_on_another_host_signs_in_and_every_broker_has_its_copy(
    nodes: Nodes, brokers: list[NodeBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = create(brokers, copies=2)
    client = nodes.client()
    # As Compose hands it on.
    monkeypatch.setenv("BRIDGE_BROKERS", ",".join(broker.outside for broker in brokers))
    monkeypatch.setenv("BRIDGE_KAFKA", json.dumps(client.kafka))
    monkeypatch.setenv("BRIDGE_KAFKA_PASSWORD", client.password)
    settings = load({"model": "m", "images_topic": topic})
    producer = make_producer(settings, print, print, {})
    failures: list[object] = []
    producer.produce(topic, b"image", on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(60) == 0
    assert failures == [None], "acknowledged by both copies"
    consumer = make_consumer(settings, print, print, print)
    try:
        consumer.subscribe([topic])
        record = consumer.poll(60)
        while record is not None and record.error():
            record = consumer.poll(60)
        assert record is not None
        assert record.value() == b"image"
    finally:
        consumer.close()


def reason(options: dict[str, str]) -> str:
    """Why a client gets nothing from a broker, in librdkafka's words."""
    said: list[str] = []

    def heard() -> list[str]:
        client.poll(0.1)
        return said

    client = Consumer({**options, "group.id": "g", "error_cb": lambda e: said.append(e.str())})
    try:
        eventually(heard, "a refusal")
        with pytest.raises(KafkaException):
            client.list_topics(timeout=1)
    finally:
        client.close()
    return " ".join(said)


def test_nobody_comes_in_without_name_password_and_tls(
    nodes: Nodes, brokers: list[NodeBroker]
) -> None:
    given = kafka_options(nodes.client().load.split())
    servers = {"bootstrap.servers": brokers[1].outside}
    AdminClient({**servers, **given}).list_topics(timeout=60)
    camera = {"sasl.username": "camera-1", "sasl.password": CAMERA}
    AdminClient({**servers, **given, **camera}).list_topics(timeout=60)
    wrong = {"sasl.password": "a wrong one"}
    assert "Authentication failed" in reason(servers | given | wrong)
    assert reason(servers), "plain text"
    anonymous = {k: v for k, v in given.items() if not k.startswith("sasl.")}
    assert reason(servers | anonymous | {"security.protocol": "SSL"})
    unencrypted = {"security.protocol": "SASL_PLAINTEXT"}
    assert reason(servers | given | unencrypted)


@pytest.mark.parametrize("port", ["9093", "9094"])
def test_brokers_speak_to_those_alone_who_have_a_certificate_of_theirs(
    nodes: Nodes, brokers: list[NodeBroker], port: str
) -> None:
    authority = nodes.directory / "kafka-authority"
    context = ssl.create_default_context(cafile=authority / "ca.pem")

    def hello() -> bytes:
        address = (HOST, int(brokers[0].ports[port]))
        with (
            socket.create_connection(address, timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as connection,
        ):
            # ApiVersions, version 0, without a client's id.
            connection.sendall(bytes.fromhex("0000000a 0012 0000 00000001 ffff"))
            return connection.recv(4)

    with pytest.raises(ssl.SSLError, match="certificate"):
        hello()
    context.load_cert_chain(authority / "k2.pem", authority / "k2.key")
    assert len(hello()) == 4


def test_what_needs_no_password_is_inside_of_the_brokers_container_alone(nodes: Nodes) -> None:
    for host in nodes.brokers:
        kafka = nodes.override(host)["kafka"]
        protocols = dict(
            pair.split(":")
            for pair in kafka["environment"]["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
        )
        plain = {name for name, protocol in protocols.items() if "SSL" not in protocol}
        listeners = kafka["environment"]["KAFKA_LISTENERS"].split(",")
        assert [one for one in listeners if one.split(":")[0] in plain] == [
            "LOCAL://localhost:19092"
        ]
        assert not [port for port in kafka["ports"] if "19092" in port]


def test_no_secret_is_where_others_can_read_it(nodes: Nodes) -> None:
    password = nodes.client().password
    assert len(password) == 32
    for host in nodes.brokers:
        text = (nodes.directory / host / "node-kafka.yaml").read_text()
        assert password not in text
        assert "PRIVATE KEY" not in text
        secrets = nodes.directory / host / "secrets"
        files = [path for path in secrets.rglob("*") if path.is_file()]
        assert {path.name for path in files} == {
            "keystore.pem", "ca.pem", "pipeline.properties", "camera-1.properties"
        }  # fmt: skip
        assert {path.stat().st_mode & 0o777 for path in files} == {0o400}
        assert secrets.stat().st_mode & 0o777 == 0o700
    keys = (nodes.directory / "kafka-authority").glob("*.key")
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}


@pytest.mark.soak
def test_one_broker_for_other_hosts_keeps_its_transactions(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, ["k1"])
    done = nodes.play()
    assert done.returncode == 0, done.stdout + done.stderr
    with running(nodes) as brokers:
        topic = create(brokers, copies=1)
        given = kafka_options(nodes.client().load.split())
        options = {"bootstrap.servers": brokers[0].outside, **given}
        producer = Producer({**options, "transactional.id": topic})
        producer.init_transactions(60)
        producer.begin_transaction()
        producer.produce(topic, b"image")
        producer.commit_transaction(60)
        consumer = Consumer({**options, "group.id": topic, "auto.offset.reset": "earliest"})
        try:
            consumer.subscribe([topic])
            (record,) = consumer.consume(1, timeout=60)
            assert record.value() == b"image"
        finally:
            consumer.close()
