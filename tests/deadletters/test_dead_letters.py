"""Listing dead letters and sending them again, on a real broker."""

import json
import time

import pytest
from typer.testing import CliRunner

from deadletters import reading
from deadletters.command import app
from deadletters.reading import CHUNK, DeadLetters
from stack.kafka import Kafka
from stack.ports import free_ports
from tests.conftest import Topics
from tests.kafka_client import collect, send
from wire.deadletter import DeadLetter, encode_dead_letter, without_value
from wire.image import decode_image
from wire.record import Outgoing, StoredRecord, raw_bytes

pytestmark = pytest.mark.slow

VALUE = b"\x89PNG of an image"
PLACE: list[tuple[str, bytes | None]] = [("dlq.partition", b"0"), ("dlq.offset", b"0")]


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
    assert said == "1 sent again, 1 not\n"
    (back,) = collect(kafka.bootstrap, [topics.predictions], lambda messages: len(messages) == 1)
    assert (back.key(), back.value()) == (b"image-0", VALUE)


def test_a_letter_that_does_not_say_where_it_came_from_holds_up_no_other(
    kafka: Kafka, topics: Topics
) -> None:
    nowhere = Outgoing(b"of another program", b"hello", [])
    odd = [
        Outgoing(b"odd", b"hello", [("dlq.topic", name), *more])
        for name in (b"a b", b"x" * 2000, b"\xff", topics.dead_letters.encode())
        for more in ([], [("dlq.value.omitted", b"9"), *PLACE])
    ]
    whole = [letter(topics, number, "color") for number in range(4)]
    send(kafka.bootstrap, topics.dead_letters, [*odd, *whole[:2], nowhere, *whole[2:]])
    done = CliRunner().invoke(
        app,
        ["replay", "--brokers", kafka.bootstrap, "--dead-letters-topic", topics.dead_letters],
    )
    assert (done.exit_code, done.stdout) == (1, "4 sent again, 9 not\n"), done.stderr
    assert "it does not say where it came from" in done.stderr
    back = collect(kafka.bootstrap, [topics.images], lambda messages: len(messages) == 4)
    assert {one.key() for one in back} == {f"image-{n}".encode() for n in range(4)}
    assert command(kafka, topics, "replay") == "0 sent again, 0 not\n"


def test_a_replay_ends_where_the_topic_ended_when_it_began(kafka: Kafka, topics: Topics) -> None:
    count = CHUNK + 50
    send(kafka.bootstrap, topics.dead_letters, [letter(topics, n, "color") for n in range(count)])
    options = {"bootstrap.servers": kafka.bootstrap}
    read = 0
    with DeadLetters(options, topics.dead_letters, f"again-{topics.images}") as letters:
        for chunk in letters.chunks():
            read += len(chunk)
            # A bridge that fails on them anew.
            again = [letter(topics, n, "color") for n in range(len(chunk))]
            send(kafka.bootstrap, topics.dead_letters, again)
    assert read == count


@pytest.mark.usefixtures("letters")
def test_a_list_tells_open_letters_from_those_sent_again(kafka: Kafka, topics: Topics) -> None:
    def opened() -> dict[str, tuple[int, int]]:
        found = json.loads(command(kafka, topics, "list", "--json", "--group", mine))
        return {name: (group["count"], group["open"]) for name, group in found.items()}

    mine = f"mine-{topics.images}"
    assert opened() == {"decode/truncated": (5, 5), "decode/color": (3, 3)}
    command(kafka, topics, "replay", "--reason", "color")
    command(kafka, topics, "replay", "--id", "image-0", "--group", mine)
    assert opened() == {"decode/truncated": (5, 4), "decode/color": (3, 0)}
    send(kafka.bootstrap, topics.dead_letters, [letter(topics, 5, "color")])
    assert opened() == {"decode/truncated": (5, 4), "decode/color": (4, 1)}
    assert ", 1 open" in command(kafka, topics, "list", "--reason", "color")


@pytest.mark.usefixtures("letters")
def test_a_dry_run_never_says_that_anything_was_sent(kafka: Kafka, topics: Topics) -> None:
    done = CliRunner().invoke(
        app, ["replay", "--brokers", kafka.bootstrap, "--topic", topics.dead_letters, "--dry-run"]
    )
    assert done.stdout.startswith("8 would be sent again")
    assert "would be sent again" in done.stderr
    assert "8 sent" not in done.stderr


def test_an_image_with_neither_key_nor_id_keeps_its_identity(kafka: Kafka, topics: Topics) -> None:
    plain = StoredRecord(topics.images, 2, 7, record_value=VALUE)
    reason = DeadLetter("decode", "color", "CMYK", topics.images, 2, 7, 1, 1_000)
    send(kafka.bootstrap, topics.dead_letters, [encode_dead_letter(plain, reason)])
    command(kafka, topics, "replay")
    (back,) = collect(kafka.bootstrap, [topics.images], lambda messages: len(messages) == 1)
    assert decode_image(back).id == decode_image(plain).id == f"{topics.images}/2/7"
    assert (back.key(), back.value()) == (None, VALUE)
    # It fails again, and again it is the same image.
    reason = reason._replace(partition=back.partition() or 0, offset=back.offset() or 0)
    send(kafka.bootstrap, topics.dead_letters, [encode_dead_letter(back, reason)])
    command(kafka, topics, "replay")
    first, second = collect(kafka.bootstrap, [topics.images], lambda found: len(found) == 2)
    assert decode_image(first).id == decode_image(second).id == f"{topics.images}/2/7"


@pytest.mark.parametrize(
    "option",
    [
        "enable.auto.commit=true", "isolation.level=read_uncommitted", "group.id=mine",
        "transactional.id=mine", "auto.offset.reset=latest", "topic.auto.offset.reset=latest",
        "acks=0", "enable.idempotence=false",
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["list", "replay"])
def test_an_option_that_would_lose_or_double_letters_is_refused(verb: str, option: str) -> None:
    done = CliRunner().invoke(app, [verb, "--brokers", "127.0.0.1:1", "--kafka", option])
    assert done.exit_code == 2, done.output
    assert option.partition("=")[0] in done.stderr


def test_no_such_topic_is_one_line(kafka: Kafka) -> None:
    done = CliRunner().invoke(
        app, ["list", "--brokers", kafka.bootstrap, "--topic", "no-such-topic"]
    )
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: no such topic on {kafka.bootstrap}: no-such-topic; ")


@pytest.mark.parametrize("command", ["list", "replay"])
def test_no_broker_is_one_line_and_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    asked: list[object] = []

    def replays(*given: object) -> list[object]:
        asked.append(given)
        return []

    monkeypatch.setattr("deadletters.reading.TIMEOUT_S", 2.0)
    monkeypatch.setattr("deadletters.command.replays", replays)
    (port,) = free_ports(1)
    done = CliRunner().invoke(app, [command, "--brokers", f"127.0.0.1:{port}"])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: cannot use Kafka at 127.0.0.1:{port}: ")
    assert len(done.stderr.splitlines()) == 1
    assert not asked  # it would be asked, and waited for, before anything is said


def test_dead_letters_are_not_sent_to_their_own_topic(kafka: Kafka, topics: Topics) -> None:
    command(kafka, topics, "replay", "--to", topics.dead_letters, code=2)
    command(kafka, topics, "replay", "--to", "a b", code=2)


def test_a_time_may_have_a_zone(kafka: Kafka, topics: Topics) -> None:
    send(kafka.bootstrap, topics.dead_letters, [letter(topics, 0, "color", timestamp_ms=3_600_000)])
    for since, said in (
        ("1970-01-01T01:00:00", "1  decode/color"),
        ("1970-01-01T03:00:00+02:00", "1  decode/color"),
        ("1970-01-01T03:00:01+02:00", "no dead letters"),
        ("1969-12-31T20:00:01-05:00", "no dead letters"),
    ):
        assert said in command(kafka, topics, "list", "--since", since)


def test_what_a_stranger_wrote_stays_in_its_line(kafka: Kafka, topics: Topics) -> None:
    name = "a\nb\x1b[31m" + "c" * 999
    named = ("dlq.error.class", "dlq.topic")
    headers = [*((header, name.encode()) for header in named), *PLACE]
    send(kafka.bootstrap, topics.dead_letters, [Outgoing(b"k", b"v", headers)])
    lines = command(kafka, topics, "list").splitlines()
    assert [line.split("a b")[0].strip() for line in lines] == ["1  ?/", "k at"]
    assert all(line.isprintable() and len(line) < 350 for line in lines)


def test_an_image_that_cannot_be_asked_for_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "TIMEOUT_S", 0.5)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with (
        reading.Originals(reading.make_config(address, {})) as originals,
        pytest.raises(reading.DeadLetterError, match="cannot read the image at images/0/7: "),
    ):
        originals.record("images", 0, 7)
