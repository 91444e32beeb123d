"""What is written can be read, by us and by the CloudEvents reference implementation."""

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from wire.clock import format_time, parse_time
from wire.deadletter import DeadLetter, decode_dead_letter, encode_dead_letter, without_value
from wire.image import MAX_ID, NDARRAY, ImageEvent, decode_image, encode_image, image_id
from wire.prediction import (
    STAMPS,
    Prediction,
    ScoredLabel,
    decode_prediction,
    encode_prediction,
)
from wire.record import ContractError, Headers, Outgoing, StoredRecord

NOW = 1_700_000_000_123_456_000


def stored(outgoing: Outgoing, **where: int) -> StoredRecord:
    return StoredRecord(
        record_key=outgoing.key,
        record_value=outgoing.value,
        record_headers=outgoing.headers,
        record_partition=where.get("partition", 0),
        record_offset=where.get("offset", 0),
    )


def an_image(value: bytes = b"pixels") -> Outgoing:
    return encode_image(
        id="cam-7/42",
        value=value,
        content_type=NDARRAY,
        source="camera/7",
        intended_ns=NOW,
        sent_ns=NOW + 5_000,
        run_id="r1",
        label="cat",
        dtype="uint8",
        shape=(32, 32, 3),
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )


def a_prediction(event: ImageEvent) -> Prediction:
    return Prediction(
        id=event.id,
        model="m",
        version="3",
        top=(
            ScoredLabel(label="cat", class_id=3, score=0.9),
            ScoredLabel(label="dog", class_id=5, score=0.1),
        ),
        stamps={name: NOW + index for index, name in enumerate(STAMPS)},
        batch_size=7,
    )


def test_an_image_envelope_survives_the_way_through_kafka() -> None:
    event = decode_image(stored(an_image()))
    assert event == ImageEvent(
        id="cam-7/42",
        content_type=NDARRAY,
        dtype="uint8",
        shape=(32, 32, 3),
        intended_ns=NOW,
        sent_ns=NOW + 5_000,
        source="camera/7",
        run_id="r1",
        label="cat",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )


def test_a_prediction_survives_the_way_through_kafka_and_keeps_key_run_and_trace() -> None:
    event = decode_image(stored(an_image()))
    sent = encode_prediction(event, b"key", a_prediction(event), "bridge/1")
    assert sent.key == b"key"
    assert decode_prediction(stored(sent)) == a_prediction(event)._replace(
        run_id=event.run_id, traceparent=event.traceparent
    )


@pytest.mark.parametrize("which", ["image", "prediction"])
def test_the_reference_implementation_reads_our_messages(which: str) -> None:
    image = an_image()
    event = decode_image(stored(image))
    sent = image if which == "image" else encode_prediction(event, b"k", a_prediction(event), "b")
    message = KafkaMessage(
        headers={name: value or b"" for name, value in sent.headers},
        key=sent.key,
        value=sent.value or b"",
    )
    theirs = from_binary(message, JSONFormat())
    assert theirs.get_id() == "cam-7/42"
    assert theirs.get_specversion() == "1.0"
    assert theirs.get_type() == f"triton-kafka-bridge.{which}.v1"
    assert theirs.get_extension("runid") == "r1"


def test_a_plain_message_is_an_image_named_by_its_key_or_its_place() -> None:
    keyed = decode_image(StoredRecord(record_key=b"a.png", record_value=b"x", timestamp_ms=1234))
    assert (keyed.id, keyed.content_type, keyed.intended_ns) == ("a.png", None, 1_234_000_000)
    bare = decode_image(StoredRecord("images", 2, 99, record_value=b"x"))
    assert bare.id == "images/2/99"
    binary = decode_image(StoredRecord("images", 2, 99, record_key=b"\xff\xfe", record_value=b"x"))
    assert binary.id == "images/2/99"


@pytest.mark.parametrize(
    ("headers", "complaint"),
    [
        ([("ce_id", b"x" * (MAX_ID + 1))], "ce_id has 257 bytes"),
        ([("ce_time", b"yesterday")], "not an RFC 3339 timestamp"),
        ([("ce_specversion", b"0.3")], "only 1.x"),
        ([("ce_shape", b"32,-1,3")], "ce_shape"),
        ([("ce_shape", b",".join([b"1"] * 9))], "ce_shape"),
        ([("ce_source", b"\xff")], "not UTF-8"),
        ([("ce_source", b"0" * 5000)], "5000 bytes"),
        ([("ce_id", b"\xff")], "ce_id is not UTF-8"),
        ([("dlq.topic", b"0" * 5000)], "dlq.topic has 5000 bytes"),
    ],
)
def test_a_header_that_breaks_the_contract_is_named(headers: Headers, complaint: str) -> None:
    with pytest.raises(ContractError, match=complaint):
        decode_image(StoredRecord(record_headers=headers))


def test_a_repeated_header_cannot_override_the_first() -> None:
    record = StoredRecord(record_headers=[("ce_id", b"one"), ("ce_id", b"two")])
    assert decode_image(record).id == "one"


ANY_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["ce_id", "ce_time", "ce_shape", "ce_dtype", "content-type", "dlq.topic", "other"]
        )
        | st.text(max_size=10),
        st.none() | st.binary(max_size=40),
    ),
    max_size=8,
)


@given(ANY_HEADERS, st.none() | st.binary(max_size=300), st.none() | st.binary(max_size=40))
def test_any_record_is_read_or_refused_and_always_has_a_bounded_printable_id(
    headers: list[tuple[str, bytes | None]], key: bytes | None, value: bytes | None
) -> None:
    record = StoredRecord("images", 1, 2, key, value, headers)
    name = image_id(record)
    assert name
    assert len(name) <= 3 * MAX_ID + 2
    assert name.isprintable()
    for reader in (decode_image, decode_prediction):
        try:
            reader(record)
        except ContractError as error:
            assert str(error)
    assert decode_dead_letter(record).offset >= -1


def test_a_place_that_is_not_printable_names_no_image() -> None:
    headers = [("dlq.topic", b"t\nforged"), ("dlq.partition", b"0"), ("dlq.offset", b"1")]
    assert image_id(StoredRecord("images", 1, 2, None, b"x", headers)) == "images/1/2"


def test_a_dead_letter_keeps_the_record_and_its_id_and_says_why_on_one_line() -> None:
    record = StoredRecord("images", 3, 7, None, b"\x00junk", [("x", b"y"), ("n", None)])
    letter = DeadLetter(
        "decode", "not_an_image", "bad\n{forged: line}\x1b[2J", "images", 3, 7, 1, 5
    )
    dead = stored(encode_dead_letter(record, letter), partition=0, offset=12)
    assert (dead.key(), dead.value()) == (None, b"\x00junk")
    assert list(dead.headers() or ())[:2] == [("x", b"y"), ("n", None)]
    assert decode_dead_letter(dead) == letter._replace(message="bad {forged: line} [2J")
    assert image_id(dead) == image_id(record) == "images/3/7"


def test_a_dead_letter_of_a_dead_letter_has_only_the_newest_reason() -> None:
    record = StoredRecord("images", 3, 7, b"k", b"v")
    first = DeadLetter("decode", "a", "first", "images", 3, 7, 1, 5)
    once = stored(encode_dead_letter(record, first))
    twice = stored(encode_dead_letter(once, first._replace(message="second", offset=9)))
    assert decode_dead_letter(twice).message == "second"
    assert [name for name, _ in twice.headers() or ()].count("dlq.offset") == 1


def test_only_a_dead_letter_can_lose_its_value() -> None:
    record = StoredRecord("images", 3, 7, b"k", b"v" * 10)
    dead = encode_dead_letter(record, DeadLetter("s", "c", "m", "images", 3, 7, 1, 5))
    smaller = without_value(dead)
    assert smaller is not None
    assert smaller.value is None
    assert ("dlq.value.omitted", b"10") in smaller.headers
    assert without_value(smaller) is None
    assert without_value(an_image()) is None


@given(st.integers(0, 2**62))
def test_a_time_survives_to_the_microsecond(ns: int) -> None:
    assert parse_time(format_time(ns)) == ns // 1000 * 1000


def test_an_id_that_no_reader_would_take_is_not_written() -> None:
    with pytest.raises(ContractError, match="1 to 256 bytes"):
        encode_image(
            id="", value=b"", content_type="image/png", source="s", intended_ns=0, sent_ns=0
        )
