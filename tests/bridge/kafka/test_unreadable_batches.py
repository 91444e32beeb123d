"""Batches that a broker takes and Kafka's client cannot decompress: they cost no other image."""

import struct

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from tests.bridge.answers import as_records, ids, predictions
from tests.bridge.conftest import StartBridge
from tests.conftest import PARTITIONS, Topics
from tests.kafka_client import collect, committed, end_offsets, send
from tests.raw_producer import encode_record, send_batch
from tests.waiting import eventually
from wire.deadletter import decode_dead_letter

pytestmark = pytest.mark.slow

ZSTD = 4
BLOCK = 1 << 17
HUGE = 120_000_000
"""More than receive.message.max.bytes, which is 100 MB: so much the client does not decompress."""


def _block(kind: int, size: int, content: bytes, *, last: bool = False) -> bytes:
    return struct.pack("<I", size << 3 | kind << 1 | last)[:3] + content


def bomb(count: int) -> bytes:
    """A zstd frame of a few kilobytes (RFC 8878): `count` records, of which the last is huge."""
    small = [encode_record(b"small", b"x", place=place) for place in range(count - 1)]
    zeros = HUGE // BLOCK * BLOCK
    whole = encode_record(b"huge", bytes(zeros), place=count - 1)
    before, behind = whole.split(bytes(zeros))
    begin = b"".join(small) + before
    frame = struct.pack("<IBB", 0xFD2FB528, 0, 7 << 3)  # a window of one block
    frame += _block(0, len(begin), begin)
    frame += zeros // BLOCK * _block(1, BLOCK, b"\0")
    return frame + _block(0, len(behind), behind, last=True)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_batch_that_cannot_be_decompressed_is_one_letter_and_its_neighbours_are_answered(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    images = as_records(cifar10(Encoding.PNG), 40)
    sizes = {0: 1, 1: 50, 2: 1}
    send(kafka.bootstrap, topics.images, images[:20])
    first = end_offsets(kafka.bootstrap, topics.images, PARTITIONS)
    for partition, count in sizes.items():
        send_batch(
            kafka.bootstrap, topics.images, bomb(count), count=count, codec=ZSTD,
            partition=partition,
        )  # fmt: skip
    # Two of them with nothing between, and nothing behind the last.
    send_batch(kafka.bootstrap, topics.images, bomb(3), count=3, codec=ZSTD, partition=0)
    for partition in (0, 1):
        for number in (partition, partition + 2):
            image = images[20 + number]
            send(kafka.bootstrap, topics.images, [image])
    bridge = start_bridge(delivery=delivery)
    ends = end_offsets(kafka.bootstrap, topics.images, PARTITIONS)
    group = f"group-{topics.images}"
    eventually(
        lambda: committed(kafka.bootstrap, group, topics.images, PARTITIONS) == ends,
        "all being committed",
        timeout_s=60,
    )
    messages = collect(
        kafka.bootstrap, [topics.predictions, topics.dead_letters], lambda found: len(found) >= 28
    )
    assert {one.id for one in predictions(messages, topics)} == {
        f"image-{number}" for number in range(24)
    }
    letters = sorted(
        (one.partition, one.offset, one.stage, one.message)
        for one in map(
            decode_dead_letter, (m for m in messages if m.topic() == topics.dead_letters)
        )
    )
    assert set(ids(messages).values()) == {1}
    base = {partition: first.get(partition, 0) for partition in range(3)}
    assert [(partition, offset) for partition, offset, *_ in letters] == [
        (0, base[0]), (0, base[0] + 3), (1, base[1] + 49), (2, base[2]),
    ]  # fmt: skip
    assert f"offsets {base[1]} to {base[1] + 49}" in letters[2][3]
    assert not bridge.reasons()
    bridge.stop()
