"""Listing dead letters and sending them again, on a real broker."""

import json
import time

import pytest
from typer.testing import CliRunner

from deadletters.command import app
from stack.kafka import Kafka
from tests.conftest import Topics
from tests.kafka_client import collect, send
from wire.deadletter import DeadLetter, encode_dead_letter, without_value
from wire.record import Outgoing, StoredRecord, raw_bytes

pytestmark = pytest.mark.slow

VALUE = b"\x89PNG of an image"


def letter(
    topics: Topics, number: int, error_class: str, offset: int = 0, timestamp_ms: int = 0
) -> Outgoing:
    record = StoredRecord(
        record_key=f"image-{number}".encode(),
        record_value=VALUE,
        record_headers=[("ce_id", f"image-{number}".encode()), ("dlq.error.stage", b"old")],
    )
    return encode_dead_letter(
        record,
        DeadLetter(
            stage="decode", error_class=error_class, message="cannot be read",
            topic=topics.images, partition=0, offset=offset, attempts=1,
            timestamp_ms=timestamp_ms or time.time_ns() // 1_000_000,
        ),
    )  # fmt: skip


def command(kafka: Kafka, topics: Topics, *arguments: str, code: int = 0) -> str:
    verb, *rest = arguments
    done = CliRunner().invoke(
        app,
        [verb, "--brokers", kafka.bootstrap, "--dead-letters-topic", topics.dead_letters, *rest],
    )
    assert done.exit_code == code, done.output
    return done.stdout


@pytest.fixture
def letters(kafka: Kafka, topics: Topics) -> None:
    records = [letter(topics, number, "truncated") for number in range(5)]
    records += [letter(topics, number, "color", timestamp_ms=1_000) for number in range(5, 8)]
    send(kafka.bootstrap, topics.dead_letters, records)


@pytest.mark.usefixtures("letters")
def test_letters_are_counted_by_reason(kafka: Kafka, topics: Topics) -> None:
    found = json.loads(command(kafka, topics, "list", "--json", "--samples", "2"))
    assert {name: group["count"] for name, group in found.items()} == {
        "decode/truncated": 5,
        "decode/color": 3,
    }
    assert found["decode/color"]["first_ms"] == 1_000
    assert len(found["decode/truncated"]["samples"]) == 2
    text = command(kafka, topics, "list", "--reason", "color")
    assert "3  decode/color  1970-01-01T00:00:01Z" in text
    assert "truncated" not in text
    assert "no dead letters" in command(kafka, topics, "list", "--id", "nobody")


@pytest.mark.usefixtures("letters")
def test_a_replay_sends_each_letter_once_as_it_first_arrived(kafka: Kafka, topics: Topics) -> None:
    assert command(kafka, topics, "replay", "--reason", "color", "--dry-run").startswith("3 would")
    assert command(kafka, topics, "replay", "--reason", "color").startswith("3 sent")
    assert command(kafka, topics, "replay", "--reason", "color").startswith("0 sent")
    back = collect(kafka.bootstrap, [topics.images], lambda messages: len(messages) >= 3)
    assert sorted(raw_bytes(message.key()) for message in back) == [
        b"image-5",
        b"image-6",
        b"image-7",
    ]
    for message in back:
        assert message.value() == VALUE
        assert message.headers() == [("ce_id", raw_bytes(message.key()))]
    send(kafka.bootstrap, topics.dead_letters, [letter(topics, 8, "color")])
    assert command(kafka, topics, "replay", "--reason", "color").startswith("1 sent")


def test_an_image_too_large_for_its_letter_is_taken_from_where_it_was(
    kafka: Kafka, topics: Topics
) -> None:
    send(kafka.bootstrap, topics.images, [Outgoing(b"image-0", VALUE, [])], partitioner="murmur2")
    (original,) = collect(kafka.bootstrap, [topics.images], lambda messages: len(messages) == 1)
    partition, offset = original.partition(), original.offset()
    assert partition is not None
    assert offset is not None
    for number, where in ((0, offset), (1, 999)):
        whole = letter(topics, number, "too_large", offset=where)
        headers = [
            (name, str(partition).encode() if name == "dlq.partition" else text)
            for name, text in whole.headers
        ]
        small = without_value(Outgoing(whole.key, whole.value, headers))
        assert small is not None
        send(kafka.bootstrap, topics.dead_letters, [small])
    said = command(kafka, topics, "replay", "--to", topics.predictions, code=1)
    assert said == "1 sent again, 1 gone\n"
    (back,) = collect(kafka.bootstrap, [topics.predictions], lambda messages: len(messages) == 1)
    assert (back.key(), back.value()) == (b"image-0", VALUE)


def test_no_such_topic_is_one_line(kafka: Kafka) -> None:
    done = CliRunner().invoke(
        app, ["list", "--brokers", kafka.bootstrap, "--topic", "no-such-topic"]
    )
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: no such topic on {kafka.bootstrap}: no-such-topic; ")
