"""On a broker that asks for rights, the doctor says which are missing, and so does the bridge."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from typer.testing import CliRunner

from bridge.doctor import app
from stack.bridge import Bridge
from stack.kafka import Kafka
from stack.ports import HOST, free_ports
from stack.topics import create_topics
from stack.triton import Triton
from tests.conftest import MODEL, Topics
from tests.security.conftest import JAAS

USER, PASSWORD = "bridge", "correct-horse-battery"
SASL = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": USER,
}


class Guarded:
    """A broker whose plain listener may do everything, and whose other one what it is allowed."""

    def __init__(self, directory: Path) -> None:
        (port,) = free_ports(1)
        self.kafka = Kafka(
            directory,
            properties={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.sasl.plain.sasl.jaas.config": f"{JAAS}.plain.PlainLoginModule "
                f'required user_{USER}="{PASSWORD}";',
            },
        )
        self.kafka.add_listener("SASL", port, "SASL_PLAINTEXT")
        self.brokers = f"{HOST}:{port}"

    def allow(self, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        bindings = [
            AclBinding(
                kind, name, ResourcePatternType.LITERAL, f"User:{USER}", "*", operation,
                AclPermissionType.ALLOW,
            )
            for operation in operations
        ]  # fmt: skip
        for done in admin.create_acls(bindings).values():
            done.result(20)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    broker = Guarded(tmp_path_factory.mktemp("guarded"))
    with broker.kafka:
        yield broker


@pytest.fixture
def names(guarded: Guarded) -> Topics:
    name = f"images-{time.monotonic_ns()}"
    topics = Topics(name, f"{name}.predictions", f"{name}.dlq")
    wanted = (topics.images, topics.predictions, topics.dead_letters)
    create_topics(guarded.kafka.bootstrap, dict.fromkeys(wanted, 1))
    return topics


def settings(guarded: Guarded, triton: Triton, names: Topics) -> dict[str, str]:
    return {
        "brokers": guarded.brokers,
        "triton": triton.grpc,
        "model": MODEL,
        "images_topic": names.images,
        "predictions_topic": names.predictions,
        "dead_letters_topic": names.dead_letters,
        "group": names.images,
    }


def doctor(given: dict[str, str]) -> tuple[int, str]:
    flags = [text for name, value in given.items() for text in (_flag(name), value)]
    for pair in SASL.items():
        flags += ["--kafka", "=".join(pair)]
    done = CliRunner().invoke(app, flags, env={"BRIDGE_KAFKA_PASSWORD": PASSWORD})
    return done.exit_code, done.output


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def test_each_right_that_is_missing_is_named(
    guarded: Guarded, triton: Triton, names: Topics, tmp_path: Path
) -> None:
    given = settings(guarded, triton, names)
    topic, group = ResourceType.TOPIC, ResourceType.GROUP

    code, said = doctor(given)
    assert code == 1
    for name in (names.images, names.predictions, names.dead_letters):
        assert f"wrong  topic {name}: Broker: Topic authorization failed" in said
    assert "tkb topics create" not in said, "they are there, for others"

    guarded.allow(topic, names.images, AclOperation.DESCRIBE)
    guarded.allow(topic, names.predictions, AclOperation.DESCRIBE)
    guarded.allow(topic, names.dead_letters, AclOperation.WRITE)
    code, said = doctor(given)
    assert code == 1
    assert f"wrong  topic {names.images}: this user has no right to READ" in said
    assert f"wrong  topic {names.predictions}: this user has no right to WRITE" in said
    assert f"ok     topic {names.dead_letters}: 1 partition(s)" in said
    assert f"wrong  group {names.images}: Broker: Group authorization failed" in said

    guarded.allow(topic, names.images, AclOperation.READ)
    guarded.allow(topic, names.predictions, AclOperation.WRITE)
    guarded.allow(group, names.images, AclOperation.READ)
    code, said = doctor(given)
    assert code == 0, said
    assert "what the topics take at most is not told" in said
    assert "wrong" not in said

    whole = {**given, "kafka_password": PASSWORD, "kafka": json.dumps(SASL)}
    with Bridge(whole, tmp_path) as bridge:
        bridge.wait_ready()


def test_a_bridge_that_may_not_see_its_topics_does_not_say_that_there_are_none(
    guarded: Guarded, triton: Triton, names: Topics, tmp_path: Path
) -> None:
    given = settings(guarded, triton, names)
    bridge = Bridge({**given, "kafka_password": PASSWORD, "kafka": json.dumps(SASL)}, tmp_path)
    bridge.launch()
    try:
        assert bridge.wait_exit(120) == 2
    finally:
        bridge.stop()
    log = bridge.log_path.read_text()
    assert f"topic '{names.images}' on {guarded.brokers} cannot be used: Broker: Topic" in log
    assert "no such topic" not in log
