"""Records that no library would send, on the real broker: each has one outcome."""

import numpy as np
import pytest
from typer.testing import CliRunner

from deadletters.command import app
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from tests.bridge.answers import as_records, ids, predictions
from tests.bridge.conftest import StartBridge
from tests.conftest import Topics
from tests.kafka_client import collect, send
from tests.raw_producer import RawHeaders, send_raw
from wire.deadletter import decode_dead_letter
from wire.image import image_id
from wire.record import Outgoing

LATIN_1 = [("größe".encode("latin-1"), b"1")]


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_no_record_stops_the_bridge(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    images = cifar10(Encoding.PNG)
    value = images[0].value
    noise = np.random.default_rng(0).bytes(1_045_000)  # compression does not save it
    hostile: list[tuple[bytes | None, bytes | None, RawHeaders]] = [
        (b"latin", value, LATIN_1),
        (b"zero", value, [(b"ce_time", b"0001-01-01T00:00:00Z")]),
        (b"end", value, [(b"ce_time", b"9999-12-31T23:59:59Z")]),
        (b"small", value, [(b"ce_time", b"2026-01-01t00:00:00z")]),
        (noise, value, [(b"ce_id", b"long key")]),
        (b"headers", value, [(b"ce_time", b"bad"), (b"h", b"x" * 1_040_000)]),
        (None, None, [(b"", None), (b"dlq.topic", b"\xff")]),
    ]
    send(kafka.bootstrap, topics.images, as_records(images, 20))
    send_raw(kafka.bootstrap, topics.images, hostile)
    send(kafka.bootstrap, topics.images, as_records(images, 40)[20:])
    bridge = start_bridge(delivery=delivery)
    count = 40 + len(hostile)
    messages = collect(
        kafka.bootstrap, [topics.predictions, topics.dead_letters],
        lambda found: len(ids(found)) >= count, timeout_s=60,
    )  # fmt: skip
    assert set(ids(messages).values()) == {1}
    answered = {one.id for one in predictions(messages, topics)}
    assert {"zero", "end", "small", "long key", *(f"image-{i}" for i in range(40))} <= answered
    letters = {
        image_id(m): decode_dead_letter(m) for m in messages if m.topic() == topics.dead_letters
    }
    assert letters["latin"].stage == "contract"
    assert "headers cannot be read" in letters["latin"].message
    bridge.stop()


def test_the_tools_go_on_past_a_letter_whose_headers_cannot_be_read(
    kafka: Kafka, topics: Topics
) -> None:
    send(kafka.bootstrap, topics.dead_letters, [Outgoing(b"k", b"v", [])])  # it has leaders now
    send_raw(kafka.bootstrap, topics.dead_letters, [(b"latin", b"v", LATIN_1)])
    where = ["--brokers", kafka.bootstrap, "--topic", topics.dead_letters]
    listed = CliRunner().invoke(app, ["list", *where])
    assert listed.exit_code == 0, listed.output
    assert "1  unreadable/headers" in listed.stdout
    replayed = CliRunner().invoke(app, ["replay", *where, "--to", topics.images])
    assert (replayed.exit_code, replayed.stdout) == (1, "1 sent again, 1 not\n")
