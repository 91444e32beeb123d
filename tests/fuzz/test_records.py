"""Whatever is on the images topic, the bridge lives, and each record has one outcome."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from tests.bridge.answers import predictions, wait_for
from tests.bridge.conftest import StartBridge
from tests.conftest import PARTITIONS, Topics
from tests.fuzz.test_decoding import (
    CONTENT_TYPES,
    FORMS,
    LIKELY,
    NAMES,
    WRAPPED_TYPES,
    wrapped,
)
from tests.kafka_client import collect, committed
from tests.raw_producer import RawHeaders, send_raw
from wire.deadletter import decode_dead_letter

pytestmark = pytest.mark.slow

RECORDS = int(os.environ.get("FUZZ_INPUTS", "2000"))
CHUNK = 50
"""Records with one timestamp, of one partition."""
LIMIT = 1_040_000
"""A broker's own, less what holds a record."""
GOOD_EVERY = 10

Record = tuple[bytes | None, bytes | None, RawHeaders]


class Stranger:
    """Writes records of every kind, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing secret
        self._values = [image.value for encoding in Encoding for image in cifar10(encoding)[:5]]

    def record(self) -> Record:
        pick = self._random
        large = pick.random() < 0.005  # some megabyte: few, as each costs
        where = pick.choice(("key", "value", "header", "headers")) if large else ""
        key = None if pick.random() < 0.3 else self._bytes(LIMIT if where == "key" else 40)
        value = self._value(LIMIT) if where == "value" else self._value(200)
        headers = [(self._name(), self._text()) for _ in range(pick.choice((0, 1, 2, 5, 30)))]
        if where == "header":
            headers.append((b"x", pick.randbytes(LIMIT - 3000)))
        if where == "headers":
            headers += [(b"h%d" % number, b"") for number in range(50_000)]
        return key, value, headers

    def timestamp_ms(self) -> int:
        return self._random.choice((-1, 0, 1, 1_700_000_000_000, self._random.randrange(1 << 40)))

    def _bytes(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randrange(most + 1) if most < LIMIT else most)

    def _value(self, most: int) -> bytes | None:
        match self._random.randrange(5):
            case 0:
                return None
            case 1:
                return self._random.choice(self._values)
            case 2:
                whole = wrapped(self._random.choice(self._values), self._random.choice(FORMS))
                cut = self._random.randrange(2 * len(whole))  # as often not at all
                return whole[:cut]
            case _:
                return self._bytes(most)

    def _name(self) -> bytes:
        if self._random.random() < 0.7:
            return self._random.choice(NAMES).encode()
        return self._bytes(20)

    def _text(self) -> bytes | None:
        match self._random.randrange(4):
            case 0:
                return None
            case 1:
                return self._random.choice(LIKELY)
            case 2:
                return self._random.choice((*CONTENT_TYPES, *WRAPPED_TYPES))
            case _:
                return self._bytes(40)


def chunks(seed: int) -> Iterator[tuple[int, list[Record]]]:
    """Timestamps and records; every tenth is a good image."""
    stranger = Stranger(seed)
    good = cifar10(Encoding.PNG)[0].value
    for first in range(0, RECORDS, CHUNK):
        # One of today in each partition: Kafka deletes a segment whose last time is a week ago.
        today = first < PARTITIONS * CHUNK
        yield (
            time.time_ns() // 1_000_000 if today else stranger.timestamp_ms(),
            [
                (b"good-%d" % number, good, ()) if number % GOOD_EVERY == 0 else stranger.record()
                for number in range(first, min(first + CHUNK, RECORDS))
            ],
        )


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_any_record_is_answered_or_set_aside_once_and_good_neighbours_are_answered(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    for number, (timestamp_ms, records) in enumerate(chunks(seed=RECORDS)):
        send_raw(
            kafka.bootstrap, topics.images, records, partition=number % PARTITIONS,
            timestamp_ms=timestamp_ms,
        )  # fmt: skip
    bridge = start_bridge(delivery=delivery, fuse_consecutive="0", fuse_ratio="0")
    group = f"group-{topics.images}"
    wait_for(
        lambda: (
            sum(committed(kafka.bootstrap, group, topics.images, PARTITIONS).values()) == RECORDS
        ),
        timeout_s=60 + RECORDS / 50,
    )
    messages = collect(
        kafka.bootstrap,
        [topics.predictions, topics.dead_letters],
        lambda found: len(found) >= RECORDS,
        timeout_s=120 + RECORDS / 100,
    )
    assert len(messages) == RECORDS
    letters = Counter(
        (one.partition, one.offset)
        for one in map(
            decode_dead_letter, (m for m in messages if m.topic() == topics.dead_letters)
        )
    )
    assert set(letters.values()) == {1}
    answers = Counter(one.id for one in predictions(messages, topics))
    good = {f"good-{number}" for number in range(0, RECORDS, GOOD_EVERY)}
    assert {answers[name] for name in good} == {1}
    metrics = bridge.metrics()
    done = sum(
        value for name, value in metrics.items()
        if name.startswith(("bridge_images_answered_total", "bridge_images_dead_lettered_total"))
    )  # fmt: skip
    assert done == metrics["bridge_images_received_total"] == RECORDS
    bridge.stop()
