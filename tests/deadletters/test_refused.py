"""Letters that Kafka does not take back: they hold up no other."""

import time

import numpy as np
import pytest
from typer.testing import CliRunner

from deadletters.command import app
from stack.kafka import Kafka
from stack.topics import create_topics
from tests.conftest import Topics
from tests.deadletters.test_dead_letters import command, letter
from tests.kafka_client import collect, send
from tests.raw_producer import send_raw
from wire.deadletter import decode_dead_letter, encode_dead_letter, without_value
from wire.record import Outgoing, StoredRecord

pytestmark = pytest.mark.slow

LARGEST = 100_000


def to(topic: str, one: Outgoing) -> Outgoing:
    headers = [
        (name, topic.encode() if name == "dlq.topic" else text) for name, text in one.headers
    ]
    return one._replace(headers=headers)


@pytest.mark.parametrize("topic", ["no-such-topic", "no topic at all", "t" * 300])
def test_a_letter_from_a_topic_that_is_not_there_holds_up_no_other(
    kafka: Kafka, topics: Topics, topic: str
) -> None:
    whole = [letter(topics, number, "color") for number in range(5)]
    whole[2] = to(topic, whole[2])
    send(kafka.bootstrap, topics.dead_letters, whole)
    done = CliRunner().invoke(
        app,
        ["replay", "--brokers", kafka.bootstrap, "--dead-letters-topic", topics.dead_letters],
    )
    assert (done.exit_code, done.stdout) == (1, "4 sent again, 1 not\n"), done.output
    assert f"there is no topic {topic[:249]!r}" in done.stderr
    assert command(kafka, topics, "replay") == "0 sent again, 0 not\n"
    said = CliRunner().invoke(
        app,
        [
            "replay", "--brokers", kafka.bootstrap, "--dead-letters-topic", topics.dead_letters,
            "--to", "no-such-topic", "--group", f"anew-{topics.images}",
        ],
    )  # fmt: skip
    assert said.exit_code == 1
    assert "no such topic" in said.stderr
    again = command(kafka, topics, "replay", "--to", topics.images, "--group", f"b-{topics.images}")
    assert again == "5 sent again, 0 not\n"


def test_an_image_that_its_id_makes_too_large_holds_up_no_other(
    kafka: Kafka, topics: Topics
) -> None:
    """It has neither key nor id, so that its place is added as one; and is as large as may be."""
    small = f"small-{topics.images}"
    create_topics(kafka.bootstrap, {small: 1}, {"max.message.bytes": str(LARGEST)})
    noise = np.random.default_rng(0).bytes(LARGEST - 80)  # compression does not save it
    send_raw(kafka.bootstrap, small, [(None, noise, [])], timestamp_ms=time.time_ns() // 1_000_000)
    whole = [to(small, letter(topics, number, "color")) for number in range(5)]
    reason = decode_dead_letter(StoredRecord(record_headers=whole[0].headers))
    cut = without_value(encode_dead_letter(StoredRecord(record_value=noise), reason))
    assert cut is not None
    send(kafka.bootstrap, topics.dead_letters, [*whole[:3], cut, *whole[3:]])
    done = CliRunner().invoke(
        app,
        ["replay", "--brokers", kafka.bootstrap, "--dead-letters-topic", topics.dead_letters],
    )
    assert (done.exit_code, done.stdout) == (1, "5 sent again, 1 not\n"), done.output
    assert "skipped: the dead letter at" in done.stderr
    assert "Message size too large" in done.stderr
    back = collect(kafka.bootstrap, [small], lambda messages: len(messages) == 6)
    assert [one.key() for one in back if one.value() == noise] == [None], "the one from before"
    assert {one.key() for one in back} == {None, *(f"image-{n}".encode() for n in range(5))}
    assert command(kafka, topics, "replay") == "0 sent again, 0 not\n"
