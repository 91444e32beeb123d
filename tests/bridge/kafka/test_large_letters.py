"""Dead letters that their topic finds too large: the reason is kept, the image stays behind."""

from dataclasses import replace

import numpy as np
import pytest

from stack.kafka import Kafka
from stack.topics import create_topics
from tests.bridge.answers import (
    GOOD,
    as_record,
    collect_answers,
    ids,
    predictions,
    wait_for,
)
from tests.bridge.conftest import StartBridge
from tests.conftest import PARTITIONS, Topics
from tests.kafka_client import committed, send
from wire.deadletter import decode_dead_letter, is_omitted
from wire.image import image_id

LIMIT = 4000


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_letter_too_large_for_its_topic_goes_without_its_image(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    letters_topic = f"{topics.dead_letters}.small"
    create_topics(kafka.bootstrap, {letters_topic: 1}, {"max.message.bytes": str(LIMIT)})
    noise = np.random.default_rng(0)  # compression does not save it
    sizes = {"small": LIMIT // 4, "large": 2 * LIMIT, "larger": 20 * LIMIT}
    bad = [as_record(GOOD._replace(value=noise.bytes(size)), name) for name, size in sizes.items()]
    good = [as_record(GOOD, f"good-{index}") for index in range(20)]
    send(kafka.bootstrap, topics.images, [*bad, *good])
    start_bridge(delivery=delivery, dead_letters_topic=letters_topic)
    count = len(bad) + len(good)
    messages = collect_answers(kafka, replace(topics, dead_letters=letters_topic), count)
    assert set(ids(messages).values()) == {1}
    assert len(predictions(messages, topics)) == len(good)
    letters = {image_id(m): m for m in messages if m.topic() == letters_topic}
    assert letters.keys() == sizes.keys()
    assert {decode_dead_letter(m).error_class for m in letters.values()} == {"not_an_image"}
    omitted = {name for name, letter in letters.items() if is_omitted(letter)}
    assert {"large", "larger"} <= omitted
    assert all(letters[name].value() is None for name in omitted)
    group = f"group-{topics.images}"

    def offsets() -> int:
        return sum(committed(kafka.bootstrap, group, topics.images, PARTITIONS).values())

    wait_for(lambda: offsets() == count)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_where_kafka_takes_no_letter_at_all_each_start_goes_on_where_it_was(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, delivery: str
) -> None:
    letters_topic = f"{topics.dead_letters}.none"
    create_topics(kafka.bootstrap, {letters_topic: 1}, {"max.message.bytes": "100"})
    good = [as_record(GOOD, f"good-{index}") for index in range(40)]
    # No commit but the one at the end.
    settings = {
        "delivery": delivery, "dead_letters_topic": letters_topic, "commit_interval_s": "60",
    }  # fmt: skip
    send(kafka.bootstrap, topics.images, good)
    group = f"group-{topics.images}"
    first = start_bridge("first", **settings)
    wait_for(lambda: first.metrics()["bridge_images_answered_total"] == len(good))
    send(kafka.bootstrap, topics.images, [as_record(GOOD._replace(value=b"junk"), "bad")])
    assert first.wait_exit(60) == 1
    assert start_bridge("second", ready=False, **settings).wait_exit(60) == 1
    done = committed(kafka.bootstrap, group, topics.images, PARTITIONS)
    assert sum(done.values()) == len(good)
    messages = collect_answers(kafka, replace(topics, dead_letters=letters_topic), len(good))
    assert ids(messages) == {f"good-{index}": 1 for index in range(40)}
