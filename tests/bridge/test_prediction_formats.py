"""A bridge that writes predictions by a schema needs the registry at start, and never again."""

import json
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from bridge.config import ConfigError, Settings
from bridge.loading import load
from bridge.startup import StoppedError, wait_for_schema
from consumer.reading.command import app as read_app
from producer.encoding import Encoding
from producer.sources import cifar10
from schemas.formats import FORMATS
from schemas.reading import make_reader
from schemas.settings import RegistrySettings
from stack.bridge import Bridge
from stack.kafka import Kafka
from stack.ports import HOST, free_ports
from tests.bridge.answers import as_records, collect_answers
from tests.bridge.conftest import StartBridge
from tests.conftest import Topics
from tests.kafka_client import send
from tests.schemas.registry_server import FakeRegistry
from tests.schemas.tls import make_certificates
from tests.waiting import eventually
from wire.record import read_record


class NoConsumer:
    """Polled while a registry is waited for."""

    polls = 0

    def poll(self, _timeout: float) -> None:
        self.polls += 1


def settings(url: str, **more: Any) -> Settings:
    waits = {"retry_min_s": 0.01, "retry_max_s": 0.05}
    return load({"prediction_format": "avro", "schema_registry_url": url, **waits, **more})


def test_a_format_without_a_registry_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs schema_registry_url"):
        load({"prediction_format": "avro"})


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="schema_registry_password") as refused:
        settings("http://me:s3cret@host")
    assert "s3cret" not in str(refused.value)


def test_json_asks_no_registry() -> None:
    found = wait_for_schema(NoConsumer(), load({}), Event(), {})  # type: ignore[arg-type]
    assert found is None


def test_a_registry_that_is_away_is_waited_for_and_health_says_so() -> None:
    (port,) = free_ports(1)
    waits: dict[str, str] = {}
    found: list[Any] = []
    consumer = NoConsumer()
    chosen = settings(f"http://{HOST}:{port}")
    thread = Thread(
        target=lambda: found.append(wait_for_schema(consumer, chosen, Event(), waits))  # type: ignore[arg-type]
    )
    thread.start()
    eventually(lambda: "is not reached" in waits.get("schema_registry", ""))
    registry = FakeRegistry(port)
    thread.join(60)
    registry.close()
    assert found[0].content_type == FORMATS["avro"].content_type
    assert (waits, found[0].schema_id) == ({}, 1)
    assert consumer.polls > 1


def test_waiting_ends_when_the_bridge_is_stopped() -> None:
    stop = Event()
    stop.set()
    with pytest.raises(StoppedError):
        wait_for_schema(NoConsumer(), settings("http://127.0.0.1:1"), stop, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [401, 403, 409])
def test_a_registry_that_refuses_is_a_setting_to_change(status: int) -> None:
    registry = FakeRegistry()
    registry.status = status
    chosen = settings(
        registry.url, schema_registry_user="me", schema_registry_password=SecretStr("s3cret")
    )
    try:
        with pytest.raises(ConfigError, match=str(status)) as refused:
            wait_for_schema(NoConsumer(), chosen, Event(), {})  # type: ignore[arg-type]
    finally:
        registry.close()
    assert "s3cret" not in str(refused.value)
    assert registry.requests == 1


def reasons(bridge: Bridge) -> dict[str, str]:
    """Why it is not ready; nothing as long as it does not listen yet."""
    try:
        return bridge.reasons()
    except OSError:
        return {}


def lines_read(kafka: Kafka, topics: Topics, *more: str) -> list[dict[str, Any]]:
    """What `tkb read` prints, by id."""
    done = CliRunner().invoke(
        read_app,
        [
            "--brokers", kafka.bootstrap, "--predictions-topic", topics.predictions,
            "--dead-letters-topic", topics.dead_letters, "--format", "json", *more,
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return sorted(map(json.loads, done.stdout.splitlines()), key=lambda one: one["id"])


@pytest.mark.slow
@pytest.mark.parametrize("prediction_format", list(FORMATS))
def test_a_registry_is_needed_at_start_and_never_again(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, prediction_format: str
) -> None:
    images = cifar10(Encoding.PNG)[:100]
    records = as_records(images)
    (port,) = free_ports(1)
    url = f"http://{HOST}:{port}"
    bridge = start_bridge(
        ready=False, prediction_format=prediction_format, schema_registry_url=url, retry_max_s="0.5"
    )
    eventually(lambda: "schema_registry" in reasons(bridge), "wait for the registry", 120)
    send(kafka.bootstrap, topics.images, records[:50])
    registry = FakeRegistry(port)
    read = make_reader(RegistrySettings(url), pytest.fail)
    try:
        bridge.wait_ready()
        # Read while it is up: the reader of Avro looks the writer's schema up once.
        first = [read_record(one) for one in collect_answers(kafka, topics, 50)]
        assert {read(record).id for record in first} == {f"image-{i}" for i in range(50)}
        lines = lines_read(kafka, topics, "--count", "50", "--schema-registry-url", url)
        assert {one["id"]: (one["label"], one["score"]) for one in lines} == {
            one.id: (one.top[0]["label"], pytest.approx(one.top[0]["score"], rel=1e-5))
            for one in map(read, first)
        }
    finally:
        read.close()
        registry.close()
    send(kafka.bootstrap, topics.images, records[50:])
    answers = [read(read_record(one)) for one in collect_answers(kafka, topics, 100)]
    assert {answer.id for answer in answers} == {f"image-{i}" for i in range(100)}
    labels = {f"image-{i}": image.label for i, image in enumerate(images)}
    assert sum(one.top[0]["label"] == labels[one.id] for one in answers) >= 85


@pytest.mark.slow
def test_exactly_once_writes_by_a_schema_of_a_registry_over_tls(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path)
    images = cifar10(Encoding.PNG)[:100]
    registry = FakeRegistry(tls=certificates.server())
    registry.credentials = "me:s3cret"
    reading = [
        "--schema-registry-url", registry.url, "--schema-registry-user", "me",
        "--schema-registry-password", "s3cret",
        "--schema-registry", f"ssl.ca.location={certificates.ca}",
    ]  # fmt: skip
    try:
        bridge = start_bridge(
            delivery="exactly-once",
            prediction_format="avro",
            schema_registry_url=registry.url,
            schema_registry_user="me",
            schema_registry_password="s3cret",
            schema_registry=json.dumps({"ssl.ca.location": str(certificates.ca)}),
        )
        send(kafka.bootstrap, topics.images, as_records(images))
        lines = lines_read(kafka, topics, *reading, "--count", str(len(images)))
        bridge.stop()
        assert lines_read(kafka, topics, *reading) == lines  # to the end: none came twice
    finally:
        registry.close()
    assert {one["id"] for one in lines} == {f"image-{i}" for i in range(len(images))}
    labels = {f"image-{i}": image.label for i, image in enumerate(images)}
    assert sum(one["label"] == labels[one["id"]] for one in lines) >= 85


@pytest.mark.slow
def test_a_schema_that_is_refused_ends_the_bridge_with_the_code_of_wrong_usage(
    start_bridge: StartBridge,
) -> None:
    registry = FakeRegistry()
    registry.status = 409
    try:
        bridge = start_bridge(
            ready=False, prediction_format="avro", schema_registry_url=registry.url
        )
        assert bridge.wait_exit(120) == 2
    finally:
        registry.close()
