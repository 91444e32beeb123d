"""Topics on a real Kafka: made as asked, and told alike by every program where they are not."""

import uuid

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from typer.testing import CliRunner

from cli.topics_command import app
from stack.kafka import Kafka
from stack.ports import free_ports


def create(kafka: Kafka, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["create", "--brokers", kafka.bootstrap, *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_topics_are_made_as_asked_and_left_alone_when_they_exist(kafka: Kafka) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    settings = ["--retention-hours", "1.5", "--max-message-bytes", "12345678"]
    said = create(kafka, name, "--partitions", "3", "--replication", "1", *settings)
    assert said == f"created {name}: 3 partitions\n"
    assert create(kafka, name, "--partitions", "5") == (
        f"{name} exists already and is left as it is\n"
    )
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    assert len(admin.list_topics(name, timeout=20).topics[name].partitions) == 3
    resource = ConfigResource(ResourceType.TOPIC, name)
    found = admin.describe_configs([resource])[resource].result(20)
    assert found["retention.ms"].value == "5400000"
    assert found["max.message.bytes"].value == "12345678"


def test_what_the_broker_refuses_is_one_line(kafka: Kafka) -> None:
    words = ["create", "xxx", "--replication", "9", "--brokers", kafka.bootstrap]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: topic xxx")
    assert done.stderr.count("\n") == 1


def test_a_name_that_no_topic_can_have_is_not_asked_for() -> None:
    done = CliRunner().invoke(app, ["create", "x" * 300, "--brokers", "127.0.0.1:1"])
    assert done.exit_code == 2
    assert "is no name of a topic" in done.stderr


def test_no_broker_is_one_line_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.topics_command.TIMEOUT_S", 1.0)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    done = CliRunner().invoke(app, ["create", "--brokers", address])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: cannot use Kafka at {address}: ")
    assert "Connection refused" in done.stderr
    assert done.stderr.count("\n") == 1
