"""What a stranger writes into `traceparent` is a trace context, or it is nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.deadletter import DeadLetter, encode_dead_letter
from wire.image import decode_image, encode_image
from wire.prediction import STAMPS, Prediction, decode_prediction, encode_prediction
from wire.record import StoredRecord
from wire.trace import TraceParent, is_sampled, parse_traceparent, read_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("header", "read"),
    [
        (VALID, VALID),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        # A later version is read as far as this one knows it.
        (f"cc-{TRACE}-{SPAN}-01", VALID),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", VALID),
        (f"cc-{TRACE}-{SPAN}-01.what", None),
        (f"cc-{TRACE}-{SPAN}-01-{'x' * 300}", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (VALID.upper(), None),
        (VALID[:-1], None),
        (f" {VALID}", None),
        (f"{VALID}\n", None),
        ("", None),
        ("0" * 5000, None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(header: str, read: str | None) -> None:
    assert read_traceparent(header.encode()) == read
    image = decode_image(StoredRecord(record_headers=[("traceparent", header.encode())]))
    assert image.traceparent == read


@given(st.binary(max_size=80))
def test_anything_else_is_ignored(raw: bytes) -> None:
    read = read_traceparent(raw)
    assert read is None or parse_traceparent(read).trace_id


def test_the_parts_are_the_text_again() -> None:
    parts = parse_traceparent(VALID)
    assert parts == TraceParent(int(TRACE, 16), int(SPAN, 16), 1)
    assert str(parts) == VALID
    assert is_sampled(VALID)
    assert not is_sampled(str(parts._replace(flags=2)))


def a_record(*headers: tuple[str, bytes]) -> StoredRecord:
    sent = encode_image(
        id="a", value=b"x", content_type="image/png", source="s", intended_ns=1, sent_ns=1
    )
    return StoredRecord(record_key=sent.key, record_headers=[*sent.headers, *headers])


def test_a_prediction_carries_a_valid_one_alone_and_no_tracestate() -> None:
    stamps = dict.fromkeys(STAMPS, 1)
    answer = Prediction("a", "m", "1", (), stamps, 1)
    for header, kept in ((VALID, VALID), ("rubbish", None)):
        event = decode_image(a_record(("traceparent", header.encode()), ("tracestate", b"a=b")))
        out = encode_prediction(event, b"a", answer, "s")
        assert "tracestate" not in dict(out.headers)
        assert dict(out.headers).get("traceparent") == (kept.encode() if kept else None)
        read = decode_prediction(StoredRecord(record_value=out.value, record_headers=out.headers))
        assert read.traceparent == kept


def test_a_dead_letter_keeps_the_images_unless_the_trace_goes_on() -> None:
    letter = DeadLetter("decode", "c", "m", "images", 0, 0, 1, 1)
    record = a_record(("traceparent", b"rubbish"), ("traceparent", VALID.encode()))
    kept = encode_dead_letter(record, letter).headers
    assert [value for name, value in kept if name == "traceparent"] == [b"rubbish", VALID.encode()]
    other = f"00-{TRACE}-{'1' * 16}-01"
    replaced = encode_dead_letter(record, letter, other).headers
    assert [value for name, value in replaced if name == "traceparent"] == [other.encode()]
