"""Times that nobody can believe: whatever is read of them can be written again."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.clock import LATEST_NS, parse_time
from wire.deadletter import DeadLetter, decode_dead_letter, encode_dead_letter
from wire.image import decode_image
from wire.prediction import STAMPS, Prediction, decode_prediction, encode_prediction
from wire.record import ContractError, StoredRecord

KAFKA_MS = 1_700_000_000_123


def record(timestamp_ms: int = KAFKA_MS, /, **times: str) -> StoredRecord:
    headers = [(f"ce_{name}", text.encode()) for name, text in times.items()]
    return StoredRecord(record_key=b"k", record_headers=headers, timestamp_ms=timestamp_ms)


def answered(read: StoredRecord) -> Prediction:
    """What a reader makes of the answer to this image."""
    event = decode_image(read)
    stamps = dict.fromkeys(STAMPS, 1) | {"intended": event.intended_ns, "sent": event.sent_ns}
    out = encode_prediction(event, b"k", Prediction(event.id, "m", "1", (), stamps, 1), "bridge")
    return decode_prediction(StoredRecord(record_value=out.value, record_headers=out.headers))


@pytest.mark.parametrize("name", ["time", "senttime"])
@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999999-14:00", "0000-02-29T00:00:00Z", "1677-09-21T00:12:43Z",
        "2262-04-12T00:00:00Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
    ],
)  # fmt: skip
def test_a_time_that_cannot_be_believed_gives_way_to_that_of_kafka(name: str, text: str) -> None:
    stamps = answered(record(**{name: text})).stamps
    assert (stamps["intended"], stamps["sent"]) == (KAFKA_MS * 1_000_000,) * 2


@pytest.mark.parametrize("timestamp_ms", [-1, -(1 << 63), (1 << 63) - 1, 1 << 43])
def test_a_timestamp_of_kafka_that_cannot_be_believed_is_not_known(timestamp_ms: int) -> None:
    stamps = answered(record(timestamp_ms)).stamps
    assert (stamps["intended"], stamps["sent"]) == (0, 0)
    sent = answered(record(timestamp_ms, time="2026-01-01T00:00:00Z")).stamps
    assert sent["intended"] == sent["sent"] == 1_767_225_600_000_000_000


@pytest.mark.parametrize(
    "text", ["2026-01-01t00:00:00z", "2026-01-01t01:00:00+01:00", "2025-12-31T23:59:60Z"]
)
def test_all_that_rfc_3339_allows_is_read(text: str) -> None:
    assert parse_time(text) == datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1_000_000_000


@pytest.mark.parametrize(
    "text", ["", "yesterday", "0000-00-00T00:00:00Z", "2026-01-01T00:00:61Z", "2026-13-01", "ß:60"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match="RFC 3339"):
        decode_image(record(time=text))


@given(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.one_of(st.text(max_size=40), st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")),
)
def test_whatever_is_read_can_be_answered(timestamp_ms: int, text: str) -> None:
    try:
        stamps = answered(record(timestamp_ms, time=text, senttime=text)).stamps
    except ContractError:
        return
    assert all(0 <= ns < LATEST_NS for ns in stamps.values())


def prediction(**changed: Any) -> StoredRecord:
    body = {
        "id": "i", "model": "m", "version": "1", "batch_size": 1,
        "top": [{"label": "cat", "class_id": 1, "score": 0.5}],
        "stamps_ns": dict.fromkeys(STAMPS, 5), **changed,
    }  # fmt: skip
    kind = ("ce_type", b"triton-kafka-bridge.prediction.v1")
    return StoredRecord(record_value=orjson.dumps(body), record_headers=[kind])


@pytest.mark.parametrize(("ns", "read"), [(-5, 0), ((1 << 63) - 1, LATEST_NS), (1e300, LATEST_NS)])
def test_a_reader_holds_the_stamps_of_a_stranger_inside_its_bounds(ns: float, read: int) -> None:
    found = decode_prediction(prediction(stamps_ns=dict.fromkeys(STAMPS, ns)))
    assert set(found.stamps.values()) == {read}


@pytest.mark.parametrize("score", ["nan", "inf", "-Infinity", None])
def test_a_score_that_is_no_number_is_not_read(score: str | None) -> None:
    top = [{"label": "cat", "class_id": 1, "score": score}]
    with pytest.raises(ContractError):
        decode_prediction(prediction(top=top))


@pytest.mark.parametrize("number", ["9" * 19, "9" * 2000, "-5", "²", "1e9", ""])
def test_numbers_of_a_letter_that_fit_no_field_are_not_known(number: str) -> None:
    letter = DeadLetter("decode", "c", "m", "images", 0, 0, 1, 5)
    out = encode_dead_letter(record(), letter)
    headers = [
        (name, number.encode() if name in ("dlq.partition", "dlq.timestamp") else text)
        for name, text in out.headers
    ]
    read = decode_dead_letter(StoredRecord(record_headers=headers))
    assert (read.partition, read.timestamp_ms, read.offset) == (-1, -1, 0)
