"""The broker is a real one, and what can go wrong with it is told."""

import socket
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient

from stack.errors import StackError
from stack.kafka import Kafka, jars
from stack.topics import create_topics

pytestmark = pytest.mark.slow


def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 32 << 20})
    failures: list[object] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(60) == 0
    assert failures == [None] * len(values)


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        consumer.subscribe([topic])
        messages = consumer.consume(count, timeout=60)
    finally:
        consumer.close()
    assert [message.error() for message in messages] == [None] * count
    return [bytes(message.value() or b"") for message in messages]


def test_what_is_produced_is_consumed_camera_images_of_20_mb_too(kafka: Kafka) -> None:
    assert "Using Parallel" in (kafka.directory / "collections.log").read_text()
    topic = uuid.uuid4().hex
    create_topics(kafka.bootstrap, {topic: 1}, {"max.message.bytes": str(32 << 20)})
    image = bytes(20 << 20)
    produce(kafka.bootstrap, topic, image, b"small")
    assert consume(kafka.bootstrap, topic, 2) == [image, b"small"]


def test_transactions_work(kafka: Kafka) -> None:
    topic = uuid.uuid4().hex
    create_topics(kafka.bootstrap, {topic: 1})
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": topic})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(topic, b"aborted")
    producer.flush(60)
    producer.abort_transaction(60)
    producer.begin_transaction()
    producer.produce(topic, b"committed")
    producer.commit_transaction(60)
    assert consume(kafka.bootstrap, topic, 1) == [b"committed"]


def test_data_and_port_survive_a_crash_beside_another_broker(kafka: Kafka, tmp_path: Path) -> None:
    with Kafka(tmp_path / "kafka") as broker:
        assert broker.bootstrap != kafka.bootstrap
        before = broker.bootstrap
        create_topics(broker.bootstrap, {"images": 1})
        produce(broker.bootstrap, "images", b"kept")
        broker.kill()
        assert not broker.running
        broker.start()
        assert broker.bootstrap == before
        assert consume(broker.bootstrap, "images", 1) == [b"kept"]
    assert "images" not in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics().topics


def test_topics_may_be_created_again_and_a_bad_one_is_named(kafka: Kafka) -> None:
    topic = uuid.uuid4().hex
    create_topics(kafka.bootstrap, {topic: 3})
    create_topics(kafka.bootstrap, {topic: 5})
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    assert len(admin.list_topics(topic, timeout=30).topics[topic].partitions) == 3
    with pytest.raises(StackError, match=r"topic a b on 127.0.0.1:\d+: .*invalid"):
        create_topics(kafka.bootstrap, {"a b": 1})


def test_a_mistyped_topic_is_an_error_not_a_new_topic(kafka: Kafka) -> None:
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "topic.metadata.propagation.max.ms": 1000}
    )
    failures: list[KafkaError | None] = []
    producer.produce("imagse", b"", on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(60) == 0
    assert failures[0] is not None
    # Which one depends on whether the client or the broker notices first.
    assert failures[0].name() in ("_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART")


def test_pauses_are_read_from_javas_log(tmp_path: Path) -> None:
    kafka = Kafka(tmp_path)
    assert kafka.pauses_ms() == []
    (tmp_path / "collections.log").write_text(
        "[0.005s] Using Parallel\n"
        "[1.204s] GC(0) Pause Young (Allocation Failure) 128M->9M(491M) 6.137ms\n"
        "[1.950s] GC(1) Pause Full (Metadata GC Threshold) 12M->8M(491M) 21.004ms\n"
        "[9.001s] GC(2) Concurrent Mark Cycle 35.100ms\n"
    )
    assert kafka.pauses_ms() == [6.137, 21.004]


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Kafka: port {port} on 127.0.0.1 is not available"):
            Kafka(tmp_path, port=port).start()


def test_a_failed_start_quotes_the_broker(tmp_path: Path) -> None:
    broker = Kafka(tmp_path, properties={"num.network.threads": "none"})
    with pytest.raises(StackError, match=r"num\.network\.threads") as caught:
        broker.start()
    assert str(broker.log_path) in str(caught.value)


def test_missing_java_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(StackError) as caught:
        Kafka(tmp_path).start()
    assert str(caught.value) == (
        "Kafka needs Java and there is none on the PATH: "
        "install Java 17 or newer (Debian, Ubuntu: apt install openjdk-17-jdk-headless)"
    )


@pytest.mark.parametrize(("version", "number"), [("11.0.2", "11"), ("1.8.0_391", "8")])
def test_a_java_that_is_too_old_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, number: str
) -> None:
    _program(tmp_path / "bin" / "java", f"echo 'openjdk version \"{version}\"' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match=rf"needs Java 17, .*/bin/java is Java {number}: install"):
        jars.java()


def test_missing_maven_is_one_clear_line_and_needed_only_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jars, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StackError, match=r"no mvn on the PATH: install Maven"):
        jars.class_path()


def test_a_failed_fetch_quotes_maven_and_leaves_no_half_filled_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _program(tmp_path / "bin" / "mvn", 'echo "[ERROR] no route to host"; exit 1')
    monkeypatch.setattr(jars, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(StackError, match="no route to host"):
        jars.class_path()
    assert not jars.is_cached()


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
