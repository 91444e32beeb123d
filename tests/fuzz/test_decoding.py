"""Whatever a stranger sends is either decoded or refused with a reason; nothing else happens."""

import base64
import json
import os
from functools import cache

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaging.decode import to_input
from imaging.rules import ImageError, ImageRules, Preprocess
from producer.encoding import Encoding
from producer.sources import cifar10
from wire.deadletter import DeadLetter, decode_dead_letter, encode_dead_letter
from wire.image import MAX_ID, decode_image, image_id
from wire.prediction import decode_prediction
from wire.record import ContractError, StoredRecord, raw_bytes
from wire.wrappings.unwrap import Wrapping, hint, read_image

INPUTS = int(os.environ.get("FUZZ_INPUTS", "1500"))
"""For each test; `make soak` asks for more."""
MAX_PIXELS = 1 << 16

RULES = tuple(
    ImageRules(shape, Preprocess(), max_bytes=1 << 20, max_pixels=MAX_PIXELS)
    for shape in ((32, 32, 3), None)
)
WRAPPED_TYPES = (
    b"application/cloudevents+json", b"application/cloudevents-batch+json", b"application/json",
    b"text/plain", b"application/base64", b"application/a+json",
)  # fmt: skip
CONTENT_TYPES = (
    b"image/png", b"image/jpeg", b"image/webp", b"image/bmp", b"application/x-ndarray",
    b"IMAGE/PNG; charset=x", b"application/octet-stream", b"", b"\xff",
)  # fmt: skip
NAMES = (
    "ce_id", "ce_specversion", "ce_source", "ce_type", "ce_time", "ce_senttime", "ce_runid",
    "ce_label", "ce_dtype", "ce_shape", "content-type", "traceparent", "dlq.topic", "dlq.offset",
    "dlq.partition", "dlq.error.class", "dlq.attempts", "x",
)  # fmt: skip
LIKELY = (
    b"1.0", b"2.0", b"32,32,3", b"0", b"-1", b"99999999999,99999999999", b"uint8", b"float64",
    b"object", b"2026-01-01T00:00:00Z", b"9999-12-31T23:59:59.999999999Z", b"line\nbreak",
    b"triton-kafka-bridge.image.v1", b"triton-kafka-bridge.prediction.v1",
)  # fmt: skip

fuzz = settings(
    max_examples=INPUTS, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@cache
def corpus() -> list[bytes]:
    return [image.value for encoding in Encoding for image in cifar10(encoding)[:10]]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real image with some damage."""
    return draw(damage(draw(st.sampled_from(corpus()))))


def wrapped(value: bytes, form: str) -> bytes:
    """An image as people send it inside something else."""
    text = base64.b64encode(value).decode()
    match form:
        case "base64":
            return text.encode()
        case "data URI":
            return f"data:image/png;base64,{text}".encode()
        case "cloudevents":
            event = {"specversion": "1.0", "id": "e", "source": "s", "type": "t"}
            return json.dumps({**event, "data_base64": text}).encode()
        case "json":
            return json.dumps({"image": text, "more": [1, {"a": None}]}).encode()
        case _:
            data = [text] if form == "BYTES" else list(value)
            tensor = {"name": "i", "datatype": form, "shape": [len(value)], "data": data}
            return json.dumps({"inputs": [tensor]}).encode()


FORMS = ("base64", "data URI", "cloudevents", "json", "BYTES", "UINT8")
WRAPPINGS = (
    Wrapping(max_bytes=1 << 20), Wrapping("auto", "image", 1 << 20), Wrapping("base64", "", 100),
    Wrapping("cloudevents"), Wrapping("json", "image", 1 << 20), Wrapping("json", "more.a"),
    Wrapping("kserve", "", 1 << 20), Wrapping("kserve", "", 100),
)  # fmt: skip


@st.composite
def damage(draw: st.DrawFn, whole: bytes) -> bytes:
    """Some of the bytes changed, cut out, repeated or cut off."""
    value = bytearray(whole)
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, max(0, len(value) - 1)))
        length = draw(st.integers(0, 16))
        match draw(st.integers(0, 3)):
            case 0:
                value[place : place + length] = draw(st.binary(min_size=length, max_size=length))
            case 1:
                del value[place : place + length]
            case 2:
                value[place:place] = value[place : place + length]
            case _:
                del value[place + length :]
    return bytes(value)


@st.composite
def damaged_wrapping(draw: st.DrawFn) -> bytes:
    """A wrapped image, with damage outside, inside, or both."""
    value = draw(damaged()) if draw(st.booleans()) else draw(st.sampled_from(corpus()))
    return draw(damage(wrapped(value, draw(st.sampled_from(FORMS)))))


values = st.one_of(damaged(), st.binary(max_size=200), st.none())
headers = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.one_of(st.none(), st.sampled_from(LIKELY), st.binary(max_size=40)),
    ),
    max_size=8,
)


@fuzz
@given(values, st.sampled_from(CONTENT_TYPES), headers, st.sampled_from(RULES))
def test_an_image_is_decoded_or_refused_with_a_reason(
    value: bytes | None,
    content_type: bytes,
    more: list[tuple[str, bytes | None]],
    rules: ImageRules,
) -> None:
    record = StoredRecord(
        record_value=value, record_headers=[("content-type", content_type), *more]
    )
    try:
        pixels = to_input(
            decode_image(record),
            raw_bytes(record.value()),
            rules,
        )
    except ContractError as error:
        assert str(error).isprintable()
    except ImageError as error:
        assert error.kind.replace("_", "").isalpha()
        assert str(error).isprintable()
    else:
        if isinstance(pixels, bytes):
            assert pixels == value
        else:
            assert pixels.shape == rules.shape
            assert pixels.dtype == np.uint8


@settings(fuzz, max_examples=max(1, INPUTS // 3))  # to write one takes as long as to read it
@given(
    damaged_wrapping(),
    st.sampled_from([*WRAPPED_TYPES, None]),
    headers,
    st.sampled_from(WRAPPINGS),
    st.sampled_from(RULES),
)
def test_a_wrapped_image_is_taken_out_or_refused_with_a_reason(
    value: bytes,
    content_type: bytes | None,
    more: list[tuple[str, bytes | None]],
    wrapping: Wrapping,
    rules: ImageRules,
) -> None:
    record = StoredRecord(
        record_value=value, record_headers=[("content-type", content_type), *more]
    )
    try:
        event, inside = read_image(record, wrapping)
        to_input(event, inside, rules)
    except ContractError as error:
        assert str(error).isprintable()
    except ImageError as error:
        assert f"{error}{hint(value)}".isprintable()
    else:
        assert len(inside) <= wrapping.max_bytes


@fuzz
@given(st.one_of(st.none(), st.binary(max_size=300)), values, headers)
def test_any_record_has_a_bounded_id_and_becomes_a_letter_that_can_be_read(
    key: bytes | None, value: bytes | None, stray: list[tuple[str, bytes | None]]
) -> None:
    record = StoredRecord(record_key=key, record_value=value, record_headers=stray)
    assert 0 < len(image_id(record)) <= 3 * MAX_ID + 2
    letter = DeadLetter("decode", "fuzz", "why", "images", 0, 1, 1, 1)
    sent = encode_dead_letter(record, letter)
    read = StoredRecord(record_key=sent.key, record_value=sent.value, record_headers=sent.headers)
    assert decode_dead_letter(read) == letter
    assert (sent.key, sent.value) == (key, value)
    decode_dead_letter(record)


@fuzz
@given(
    st.one_of(
        st.binary(max_size=100),
        st.sampled_from([b'{"id":1,"top":[{}]}', b"[]", b"null", b'{"top":[1],"stamps_ns":{}}']),
    ),
    headers,
)
def test_a_strange_prediction_is_refused_by_the_contract_alone(
    value: bytes, stray: list[tuple[str, bytes | None]]
) -> None:
    record = StoredRecord(
        record_value=value,
        record_headers=[*stray, ("ce_type", b"triton-kafka-bridge.prediction.v1")],
    )
    try:
        decode_prediction(record)
    except ContractError as error:
        assert str(error)
    else:
        raise AssertionError("nothing here is a whole prediction")
