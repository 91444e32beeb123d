"""Wrapped images, headers, routes and ages on the real broker and the real Triton."""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.topics import create_topics
from tests.bridge.answers import as_record, as_records, ids
from tests.bridge.conftest import StartBridge
from tests.conftest import PARTITIONS, Topics
from tests.kafka_client import collect, committed, send
from tests.waiting import eventually
from wire.deadletter import decode_dead_letter
from wire.image import encode_image, image_id
from wire.prediction import decode_prediction
from wire.record import Outgoing
from wire.wrappings.cloudevents import STRUCTURED

pytestmark = pytest.mark.slow

DELIVERIES = ["at-least-once", "exactly-once"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_an_image_is_answered_alike_whatever_it_is_wrapped_in_and_goes_where_its_label_says(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    image = cifar10(Encoding.PNG)[0]
    text = base64.b64encode(image.value).decode()
    event = {"specversion": "1.0", "id": "inner", "source": "c", "type": "t", "data_base64": text}
    damaged = {**event, "id": "in", "data_base64": text[:400]}
    structured = [("content-type", STRUCTURED.encode())]
    records = [
        Outgoing(b"plain", image.value, [("camera", b"7"), ("secret", b"s")]),
        Outgoing(b"outer", json.dumps(event).encode(), list(structured)),
        Outgoing(b"text", text.encode(), [("content-type", b"text/plain")]),
        Outgoing(b"field", json.dumps({"a": {"b": text}}).encode(), []),
        Outgoing(b"broken", json.dumps({"a": {"b": text[:-7]}}).encode(), [("secret", b"s")]),
        Outgoing(b"damaged", json.dumps(damaged).encode(), list(structured)),
    ]  # fmt: skip
    send(kafka.bootstrap, topics.images, records)
    routed = f"{topics.predictions}-label"
    create_topics(kafka.bootstrap, {routed: 1})
    bridge = start_bridge(
        delivery=delivery, image_field="a.b", pass_headers="camera,tenant-*",
        routes=json.dumps({image.label: routed}),
    )  # fmt: skip
    messages = collect(
        kafka.bootstrap, [topics.predictions, routed, topics.dead_letters],
        lambda found: len(ids(found)) >= len(records),
    )  # fmt: skip
    assert set(ids(messages).values()) == {1}
    answers = {image_id(m): m for m in messages if m.topic() == routed}
    assert answers.keys() == {"plain", "inner", "text", "field"}
    tops = {str(decode_prediction(message).top) for message in answers.values()}
    assert len(tops) == 1
    plain = answers["plain"]
    assert dict(plain.headers() or [])["camera"] == b"7"
    assert "secret" not in dict(plain.headers() or [])
    places = [decode_prediction(message).record for message in answers.values()]
    assert {one["topic"] for one in places if one is not None} == {topics.images}
    assert len({(one["partition"], one["offset"]) for one in places if one is not None}) == 4
    letters = {image_id(m): m for m in messages if m.topic() == topics.dead_letters}
    assert letters.keys() == {"broken", "in"}
    assert decode_dead_letter(letters["broken"]).error_class == "wrapping"
    assert decode_dead_letter(letters["in"]).stage == "decode"
    assert dict(letters["broken"].headers() or [])["secret"] == b"s"
    bridge.stop()


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("expired", ["dead-letter", "drop"])
def test_what_is_too_old_is_not_answered_and_its_offset_is_committed(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str, expired: str
) -> None:
    images = cifar10(Encoding.PNG)
    hour_ago = time.time_ns() - 3600 * 10**9
    old = [
        encode_image(
            id=f"old-{number}", value=images[0].value, content_type="image/png", source="test",
            intended_ns=hour_ago, sent_ns=hour_ago,
        )
        for number in range(200)
    ]  # fmt: skip
    send(kafka.bootstrap, topics.images, [*old, *as_records(images, 20)])
    bridge = start_bridge(delivery=delivery, max_age="10m", expired=expired, fuse_consecutive="20")
    group = f"group-{topics.images}"
    eventually(
        lambda: sum(committed(kafka.bootstrap, group, topics.images, PARTITIONS).values()) == 220,
        "every offset is committed",
        60,
    )
    wanted = 20 if expired == "drop" else 220
    messages = collect(
        kafka.bootstrap, [topics.predictions, topics.dead_letters],
        lambda found: len(found) >= wanted,
    )  # fmt: skip
    assert len(messages) == wanted
    letters = [decode_dead_letter(m) for m in messages if m.topic() == topics.dead_letters]
    assert {(one.stage, one.error_class) for one in letters} <= {("decode", "expired")}
    answered = {image_id(m) for m in messages if m.topic() == topics.predictions}
    assert answered == {f"image-{number}" for number in range(20)}
    metrics = bridge.metrics()
    assert metrics["bridge_images_received_total"] == 220
    dropped = metrics.get('bridge_images_expired_total{stage="decode"}', 0)
    assert dropped == (200 if expired == "drop" else 0)
    bridge.stop()


def test_a_bridge_with_a_route_to_no_topic_does_not_start(
    topics: Topics, start_bridge: StartBridge
) -> None:
    bridge = start_bridge(ready=False, routes='{"cat": "there-is-no-such-topic"}')
    assert bridge.wait_exit(60) == 2
    del topics


def test_read_prints_what_each_file_of_a_folder_was(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, tmp_path: Path
) -> None:
    folder = tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    for number, image in enumerate(cifar10(Encoding.PNG, limit=3)):
        (folder / f"{number}.png").write_bytes(image.value)
    (folder / "broken.png").write_bytes(b"no image")
    send(kafka.bootstrap, topics.images, [as_record(cifar10(Encoding.PNG)[0], "another run's")])
    bridge = start_bridge()
    where = [
        "--brokers", kafka.bootstrap, "--predictions-topic", topics.predictions,
        "--dead-letters-topic", topics.dead_letters,
    ]  # fmt: skip

    def tkb(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "cli"), *arguments, *where],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    sent = tkb("produce", "folder", str(folder.parent), "--run-id", "mine", "--listen",
               "--images-topic", topics.images)  # fmt: skip
    assert "answered       3" in sent
    lines = tkb("read", "--run-id", "mine", "--format", "json").splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["id"] for row in rows} == {f"cat/{n}.png" for n in range(3)} | {"cat/broken.png"}
    assert {row["id"] for row in rows if "error" in row} == {"cat/broken.png"}
    text = tkb("read", "--count", "5")
    assert len(text.splitlines()) == 5
    assert "\x1b" not in text
    bridge.stop()
