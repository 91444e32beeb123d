"""The bridge between a real Kafka and a real Triton."""

import io
import os
import signal
import struct
import urllib.error
import urllib.request
import zlib
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from bridge.fuse import FIRST
from producer.encoding import EncodedImage, Encoding
from producer.sources import cifar10
from stack.bridge import Bridge
from stack.kafka import Kafka
from stack.topics import create_topics
from stack.triton import Triton
from tests.bridge.answers import (
    GOOD,
    RAW,
    RIGHT_OF_1000,
    as_record,
    as_records,
    collect_answers,
    ids,
    predictions,
    right,
    wait_for,
)
from tests.bridge.conftest import CRASH, StartBridge
from tests.conftest import PARTITIONS, Topics
from tests.kafka_client import collect, committed, end_offsets, send
from wire.deadletter import decode_dead_letter
from wire.image import NDARRAY, image_id
from wire.record import Outgoing

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_the_oracle_holds_from_kafka_to_kafka(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    images = cifar10(Encoding.PNG)
    bridge = start_bridge(delivery=delivery)
    send(kafka.bootstrap, topics.images, as_records(images))
    messages = collect_answers(kafka, topics, len(images))
    answers = predictions(messages, topics)
    assert len(answers) == len(images)
    assert right(images, answers) == RIGHT_OF_1000
    one = answers[0]
    assert (one.model, one.version, len(one.top)) == ("resnet20_cifar10", "1", 3)
    scores = [top["score"] for top in one.top]
    assert scores == sorted(scores, reverse=True)
    stamps = list(one.stamps.values())
    assert stamps[2:] == sorted(stamps[2:])
    bridge.stop()
    ends = end_offsets(kafka.bootstrap, topics.images, PARTITIONS)
    group = f"group-{topics.images}"
    assert committed(kafka.bootstrap, group, topics.images, PARTITIONS) == ends


@pytest.mark.parametrize("encoding", [Encoding.WEBP, Encoding.BMP, Encoding.RAW])
def test_every_lossless_encoding_gives_the_same_answers(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, encoding: Encoding
) -> None:
    images = cifar10(encoding)
    start_bridge()
    send(kafka.bootstrap, topics.images, as_records(images))
    answers = predictions(collect_answers(kafka, topics, len(images)), topics)
    assert right(images, answers) == RIGHT_OF_1000


def test_jpegs_are_answered(kafka: Kafka, topics: Topics, start_bridge: StartBridge) -> None:
    images = cifar10(Encoding.JPEG)[:200]
    start_bridge()
    send(kafka.bootstrap, topics.images, as_records(images))
    answers = predictions(collect_answers(kafka, topics, len(images)), topics)
    assert right(images, answers) > 0.85 * len(images)


def test_plain_messages_of_any_producer_are_answered_by_key_or_place(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge
) -> None:
    value = cifar10(Encoding.PNG)[0].value
    start_bridge()
    send(
        kafka.bootstrap,
        topics.images,
        [Outgoing(b"door.png", value, []), Outgoing(None, value, [])],
    )
    messages = collect_answers(kafka, topics, 2)
    by_key = {answer.id: message.key() for answer, message in zip(
        predictions(messages, topics), messages, strict=True)}  # fmt: skip
    assert by_key.pop("door.png") == b"door.png"
    ((place, key),) = by_key.items()
    assert place.startswith(f"{topics.images}/")
    assert key is None


def picture(mode: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (32, 32)).save(out, **options)
    return out.getvalue()


def huge_png() -> bytes:
    chunks = [
        b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )


BAD: dict[str, tuple[EncodedImage, str]] = {
    "empty": (GOOD._replace(value=b""), "empty"),
    "truncated": (GOOD._replace(value=GOOD.value[:700]), "truncated"),
    "text": (GOOD._replace(value=b"GET / HTTP/1.1"), "not_an_image"),
    "bomb": (GOOD._replace(value=huge_png()), "too_many_pixels"),
    "gif": (EncodedImage(picture("RGB", format="GIF"), "image/gif"), "format"),
    "wrong-shape": (
        EncodedImage(bytes(64 * 64 * 3), NDARRAY, None, "uint8", (64, 64, 3)),
        "shape",
    ),
    "wrong-dtype": (RAW._replace(dtype="float64"), "dtype"),
    "short-array": (RAW._replace(value=RAW.value[:-1]), "ndarray"),
    "large": (GOOD._replace(value=np.random.default_rng(0).bytes(20 << 20)), "too_large"),
}
ODD: dict[str, EncodedImage] = {
    "cmyk": EncodedImage(picture("CMYK", format="JPEG"), "image/jpeg"),
    "mislabelled": GOOD._replace(content_type="image/jpeg"),
    "unknown-type": GOOD._replace(content_type="video/mp4"),
}
"""Images that people have, and that are answered."""


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_bad_input_is_dead_lettered_with_its_reason_and_its_neighbours_are_answered(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    records = []
    for name, (image, _) in BAD.items():
        records += [as_record(GOOD, f"before-{name}"), as_record(image, name)]
    records += [as_record(image, name) for name, image in ODD.items()]
    broken = as_record(GOOD, "broken-header")
    broken.headers.append(("ce_shape", b"-1"))
    unsent = Outgoing(b"null", None, [])
    send(kafka.bootstrap, topics.images, [*records, broken, unsent])
    start_bridge(delivery=delivery)
    messages = collect_answers(kafka, topics, len(records) + 2)
    dead = {image_id(m): m for m in messages if m.topic() == topics.dead_letters}
    reasons = {name: decode_dead_letter(m) for name, m in dead.items()}
    expected = {name: kind for name, (_, kind) in BAD.items()}
    expected |= {"broken-header": "contract", "null": "empty"}
    assert {name: reason.error_class for name, reason in reasons.items()} == expected
    for name, (image, _) in BAD.items():
        assert dead[name].value() == image.value
        assert reasons[name].topic == topics.images
        assert reasons[name].offset >= 0
        assert reasons[name].message
    answers = predictions(messages, topics)
    assert {answer.id for answer in answers} == {*ODD, *(f"before-{name}" for name in BAD)}
    assert {answer.top[0]["label"] for answer in answers if answer.id != "cmyk"} == {GOOD.label}


FORGED = 'x"} 1\nforged_metric 5\n{"event": "forged", "level": "info"}\r\x1b[2J'


@pytest.mark.parametrize("style", ["json", "console"])
def test_what_a_stranger_writes_forges_no_log_line_and_no_metric(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, style: str
) -> None:
    headers = [
        *("ce_id", "ce_specversion", "ce_source", "ce_type", "ce_time", "ce_senttime", "ce_runid"),
        *("ce_label", "ce_dtype", "ce_shape", "content-type", "traceparent", "dlq.stage"),
        *("dlq.topic", "dlq.error.class", "dlq.error.message", FORGED),
    ]
    records = [
        Outgoing(FORGED.encode(), value, [(name, FORGED.encode())])
        for name in headers
        for value in (GOOD.value, FORGED.encode(), b"")
    ]
    bridge = start_bridge(log_level="debug", log_format=style, fuse_consecutive="0", fuse_ratio="0")
    before = set(bridge.metrics())
    send(kafka.bootstrap, topics.images, records)
    collect(
        kafka.bootstrap,
        [topics.predictions, topics.dead_letters],
        lambda messages: len(messages) >= len(records),
    )
    assert not [name for name in set(bridge.metrics()) - before if "forged" in name]
    bridge.stop()
    text = bridge.log_path.read_text()
    lines = text.splitlines()
    assert sum('"dead_letter"' in line or "dead_letter " in line for line in lines) > len(headers)
    assert not [line for line in lines if line.startswith(("forged", '{"event": "forged"'))]
    assert "\x1b" not in text
    if style == "json":
        assert all(isinstance(orjson.loads(line), dict) for line in lines)


@pytest.mark.usefixtures("fragile_decoder")
def test_images_that_crash_their_decoder_are_dead_lettered_and_the_bridge_lives(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge
) -> None:
    records = as_records(cifar10(Encoding.PNG), 200)
    crashes = {f"image-{number}" for number in (5, 150)}
    for number in (5, 150):
        records[number] = records[number]._replace(value=CRASH)
    bridge = start_bridge()
    send(kafka.bootstrap, topics.images, records)
    messages = collect_answers(kafka, topics, len(records))
    letters = {image_id(m): decode_dead_letter(m) for m in messages
               if m.topic() == topics.dead_letters}  # fmt: skip
    assert letters.keys() == crashes
    assert {letter.error_class for letter in letters.values()} == {"decoder_crash"}
    assert bridge.running


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_triton_killed_and_restarted_in_the_middle_loses_nothing(
    kafka: Kafka, triton: Triton, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    images = cifar10(Encoding.RAW)
    records = as_records(images, 3000)
    bridge = start_bridge(delivery=delivery)
    send(kafka.bootstrap, topics.images, records)
    wait_for(lambda: bridge.metrics()["bridge_images_answered_total"] > 200)
    triton.kill()
    wait_for(lambda: bridge.health("ready") == 503)
    assert bridge.health("live") == 200
    triton.start()
    messages = collect_answers(kafka, topics, len(records))
    assert set(ids(messages).values()) == {1}
    wait_for(lambda: bridge.health("ready") == 200)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_sigterm_in_the_middle_drains_and_the_next_bridge_goes_on_where_it_was(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    records = as_records(cifar10(Encoding.RAW), 3000)
    first = start_bridge("first", delivery=delivery)
    send(kafka.bootstrap, topics.images, records)
    wait_for(lambda: first.metrics()["bridge_images_answered_total"] > 200)
    send_signal(first.pid, signal.SIGTERM)
    assert first.wait_exit(40) == 0
    group = f"group-{topics.images}"
    assert sum(committed(kafka.bootstrap, group, topics.images, PARTITIONS).values()) > 200
    start_bridge("second", delivery=delivery)
    messages = collect_answers(kafka, topics, len(records))
    assert set(ids(messages).values()) == {1}


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
@pytest.mark.parametrize("assignor", ["range", "cooperative-sticky"])
def test_bridges_that_join_and_leave_under_load_lose_and_double_nothing(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str, assignor: str
) -> None:
    images = cifar10(Encoding.RAW)
    sent: list[Outgoing] = []

    def answers_while_load_runs(bridge: Bridge, count: int) -> bool:
        if bridge.metrics().get("bridge_images_answered_total", 0) > count:
            return True
        more = [as_record(images[0], f"image-{len(sent) + i}") for i in range(200)]
        send(kafka.bootstrap, topics.images, more)
        sent.extend(more)
        return False

    settings = {
        "delivery": delivery,
        "kafka_consumer": f'{{"partition.assignment.strategy": "{assignor}"}}',
    }
    first = start_bridge("first", **settings)
    wait_for(lambda: answers_while_load_runs(first, 200))
    second = start_bridge("second", **settings)
    wait_for(lambda: answers_while_load_runs(second, 100))
    third = start_bridge("third", **settings)
    first.stop()
    wait_for(lambda: answers_while_load_runs(third, 100))
    messages = collect_answers(kafka, topics, len(sent))
    assert set(ids(messages).values()) == {1}


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_bridge_whose_fuse_has_blown_stays_up_and_each_start_goes_on_where_it_was(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    bad = [as_record(GOOD._replace(value=b"junk"), f"image-{i}") for i in range(200)]
    good = as_records([GOOD], 210)[200:]
    send(kafka.bootstrap, topics.images, [*bad, *good])
    group = f"group-{topics.images}"
    # So few in flight that no good one is among them.
    settings = {"delivery": delivery, "max_buffered_images": "20"}
    for start in range(1, 4):
        bridge = start_bridge(f"start-{start}", ready=False, **settings)
        wait_for(lambda one=bridge: "fuse" in reasons(one))
        # Kafka may bring the images of some partitions before those of the others.
        count = int(reasons(bridge)["fuse"].partition(" images in a row")[0])
        assert FIRST <= count <= 20
        assert (bridge.health("live"), bridge.health("ready")) == (200, 503)
        metrics = bridge.metrics()
        assert metrics["bridge_fuse_blown"] == 1
        assert metrics["bridge_images_in_flight"] == 0
        done = sum(committed(kafka.bootstrap, group, topics.images, PARTITIONS).values())
        assert done == 9 * start
        send_signal(bridge.pid, signal.SIGTERM)
        assert bridge.wait_exit(20) == 1
    start_bridge("fixed", delivery=delivery, fuse_consecutive="0", fuse_ratio="0")
    messages = collect_answers(kafka, topics, 210)
    assert set(ids(messages).values()) == {1}
    assert {one.id for one in predictions(messages, topics)} == {
        f"image-{i}" for i in range(200, 210)
    }


def reasons(bridge: Bridge) -> dict[str, str]:
    """Why a bridge is not ready, as it says itself."""
    try:
        with urllib.request.urlopen(f"http://{bridge.http}/health/ready", timeout=2):
            return {}
    except urllib.error.HTTPError as error:
        found: dict[str, str] = orjson.loads(error.read())["reasons"]
        return found


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"model": "no_such_model"}, "Triton has no model 'no_such_model'; it has: resnet20"),
        ({"images_topic": "no-such-topic"}, "no such topic"),
        ({"kafka": '{"no.such.option": "1"}'}, "no.such.option"),
        ({"kafka": '{"enable.auto.commit": "true"}'}, "decided by the bridge"),
    ],
)
def test_what_cannot_work_is_refused_at_start_with_the_reason(
    start_bridge: StartBridge, settings: dict[str, str], complaint: str
) -> None:
    bridge = start_bridge(ready=False, **settings)
    assert bridge.wait_exit(60) == 2
    log = bridge.log_path.read_text()
    assert complaint in log
    assert "Traceback" not in log


def test_a_bridge_waits_for_kafka_and_triton_and_can_be_stopped_meanwhile(
    start_bridge: StartBridge,
) -> None:
    for away in ({"triton": "127.0.0.1:1"}, {"brokers": "127.0.0.1:1"}):
        bridge = start_bridge(next(iter(away)), ready=False, **away)
        wait_for(lambda one=bridge: "waiting_for" in one.log_path.read_text())
        assert bridge.health("live") == 200
        assert bridge.health("ready") == 503
        send_signal(bridge.pid, signal.SIGTERM)
        assert bridge.wait_exit(20) == 0


def test_a_second_signal_stops_at_once_and_leaves_the_rest_uncommitted(
    kafka: Kafka, triton: Triton, topics: Topics, start_bridge: StartBridge
) -> None:
    bridge = start_bridge(request_timeout_s="60")
    triton.pause()
    try:
        send(kafka.bootstrap, topics.images, as_records(cifar10(Encoding.RAW), 100))
        wait_for(lambda: bridge.metrics()["bridge_requests_in_flight"] > 0)
        send_signal(bridge.pid, signal.SIGTERM)
        wait_for(lambda: bridge.health("ready") == 503)
        send_signal(bridge.pid, signal.SIGTERM)
        assert bridge.wait_exit(20) == 1
    finally:
        triton.resume()
    assert committed(kafka.bootstrap, f"group-{topics.images}", topics.images, PARTITIONS) == {}
    start_bridge("next")
    assert set(ids(collect_answers(kafka, topics, 100)).values()) == {1}


def test_a_topic_made_later_is_named_when_it_is_missing(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge
) -> None:
    name = f"{topics.images}-later"
    assert start_bridge("early", ready=False, images_topic=name).wait_exit(60) == 2
    create_topics(kafka.bootstrap, {name: 1})
    start_bridge("late", images_topic=name)


def send_signal(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_what_kafkas_clients_say_of_themselves_is_scraped(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    bridge = start_bridge(delivery=delivery, kafka='{"statistics.interval.ms": 500}')
    send(kafka.bootstrap, topics.images, as_records(cifar10(Encoding.RAW)[:50]))
    collect_answers(kafka, topics, 50)
    wait_for(lambda: bridge.metrics()["bridge_kafka_rtt_seconds"] > 0)
    found = bridge.metrics()
    assert found["bridge_kafka_brokers_up"] >= 1
    for client in ("consumer", "producer"):
        for name in ("throttle_seconds", "requests_waiting", "queued_records", "queued_bytes"):
            assert found[f'bridge_kafka_{name}{{client="{client}"}}'] >= 0
