"""`tkb doctor` against a real Kafka and a real Triton."""

import re
import socket
import time
from collections.abc import Mapping

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from bridge.doctor import app
from stack.kafka import Kafka
from stack.triton import Triton
from tests.conftest import MODEL, PARTITIONS, Topics


def doctor(given: Mapping[str, str]) -> tuple[int, str]:
    flags = [text for pair in given.items() for text in pair]
    done = CliRunner().invoke(app, flags)
    return done.exit_code, done.output


def settings(kafka: Kafka, triton: Triton, topics: Topics) -> dict[str, str]:
    return {
        "--brokers": kafka.bootstrap,
        "--images-topic": topics.images,
        "--predictions-topic": topics.predictions,
        "--dead-letters-topic": topics.dead_letters,
        "--triton": triton.grpc,
        "--model": MODEL,
        "--group": topics.images,
    }


def test_what_the_bridge_would_do_is_said_and_what_is_wrong_ends_with_1(
    kafka: Kafka, triton: Triton, topics: Topics
) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for _ in range(3):
        producer.produce(topics.images, b"image")
    assert producer.flush(60) == 0
    given = settings(kafka, triton, topics)

    code, said = doctor(given)
    assert code == 0, said
    assert f"topic {topics.images}: {PARTITIONS} partition(s)" in said
    assert "is new and would answer all 3 records" in said
    assert f"model {MODEL}, batches of" in said
    assert "wrong" not in said

    code, said = doctor({**given, "--start": "latest", "--max-image-bytes": "40000000"})
    assert code == 0, said
    assert "would begin at the end, past 3 records" in said
    assert "max_image_bytes is 40,000,000, but topic" in said

    code, said = doctor({**given, "--images-topic": "nowhere", "--triton": triton.http})
    assert code == 1
    assert "no such topic" in said
    assert "tkb topics create" in said
    assert f"{triton.http} speaks HTTP and not gRPC" in said

    code, said = doctor({**given, "--model": "nobody"})
    assert code == 1
    assert "Triton has no model 'nobody'; it has:" in said


def test_without_kafka_and_triton_each_is_named(
    kafka: Kafka, triton: Triton, topics: Topics
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        code, said = doctor({**settings(kafka, triton, topics), "--brokers": address})
    assert code == 1
    assert f"wrong  Kafka at {address}: " in said
    assert f"ok     Triton at {triton.grpc}" in said


def test_clocks_that_differ_are_told(
    kafka: Kafka, triton: Triton, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(kafka, triton, topics)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(topics.images, b"image", timestamp=int(time.time() * 1000) - 5000)
    assert producer.flush(60) == 0
    code, said = doctor(given)
    assert code == 0, said
    assert f"ok     the newest record of {topics.images} is " in said
    assert "clock" not in said

    monkeypatch.setattr("bridge.checks.clock_s", lambda: time.time() - 3600)
    code, said = doctor(given)
    assert code == 0, said
    (record,) = re.findall(r"note   the newest record of \S+ is dated ([\d,.]+) s after", said)
    assert 3000 < float(record.replace(",", "")) < 3600
    (server,) = re.findall(r"note   Triton at \S+: its clock is ([\d,.]+) s ahead of", said)
    assert 3500 < float(server.replace(",", "")) < 3700


@pytest.mark.parametrize("wrong", [{"--top-k": "many"}, {"--kafka": "nonsense=1"}])
def test_settings_that_cannot_be_used_are_wrong_usage(wrong: dict[str, str]) -> None:
    assert doctor(wrong)[0] == 2
