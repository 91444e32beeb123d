"""Every task's answer survives the way through Kafka; what is none is refused by name."""

import base64
import io
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.wire.test_contract import a_prediction, an_image, stored
from wire.answers import (
    FLOAT32,
    Detection,
    Detections,
    Embedding,
    ImageSize,
    OtherAnswer,
    Tensors,
)
from wire.image import decode_image
from wire.prediction import (
    CLASSIFICATION_TYPE,
    PREDICTION_TYPE,
    Head,
    ScoredLabel,
    decode_prediction,
    encode_prediction,
)
from wire.record import ContractError, StoredRecord
from wire.tensors import OutputTensor

EVENT = decode_image(stored(an_image()))


def packed(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def png(width: int, height: int) -> bytes:
    made = io.BytesIO()
    Image.new("L", (width, height)).save(made, "PNG")
    return made.getvalue()


STRING = b"\x03\x00\x00\x00\xff\x00a"
PICTURE = png(3, 2)
VECTOR = np.array([0.5, -1, 3.25], FLOAT32).tobytes()
FOUND = Detection(label="cat", class_id=3, score=0.9, box=(1.0, 2.0, 30.5, 40.0))
ANSWERS: dict[str, OtherAnswer] = {
    "detections": Detections((FOUND,), ImageSize(width=640, height=480)),
    "nothing": Detections((), None),
    "base64": Embedding(VECTOR, "base64"),
    "list": Embedding(VECTOR, "list"),
    "tensors": Tensors(
        (
            OutputTensor(name="a", datatype="FP32", shape=(2, 1), data=(1.5, 2.0)),
            OutputTensor(name="b", datatype="BYTES", shape=(1,), data=("text",)),
            OutputTensor(name="c", datatype="BOOL", shape=(1,), data=(True,)),
            OutputTensor(name="d", datatype="FP32", shape=(0, 4), data=()),
        )
    ),
    "binary": Tensors(
        (
            OutputTensor(name="a", datatype="INT16", shape=(2,), data_base64=packed(b"abcd")),
            OutputTensor(name="b", datatype="BYTES", shape=(1,), data_base64=packed(STRING)),
            OutputTensor(name="c", datatype="UINT8", shape=(2, 3), png_base64=packed(PICTURE)),
        )
    ),
}


def encoded(answer: OtherAnswer | None) -> StoredRecord:
    prediction = a_prediction(EVENT)._replace(answer=answer)
    if answer is not None:
        prediction = prediction._replace(top=())
    return stored(encode_prediction(EVENT, b"key", prediction, "bridge/1"))


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_survives_the_way_through_kafka(name: str) -> None:
    record = encoded(ANSWERS[name])
    found = decode_prediction(record)
    assert (found.answer, found.task, found.top) == (ANSWERS[name], ANSWERS[name].task, ())
    assert dict(record.record_headers or ())["ce_type"] == PREDICTION_TYPE.encode()


def test_a_classification_is_what_readers_of_the_first_version_know() -> None:
    record = encoded(None)
    assert dict(record.record_headers or ())["ce_type"] == CLASSIFICATION_TYPE.encode()
    body = orjson.loads(record.record_value or b"")
    assert body.pop("task") == "classify"
    assert set(body) == {"id", "model", "version", "top", "batch_size", "stamps_ns"}
    assert decode_prediction(record).task == "classify"


BARE = {"name": "a", "datatype": "FP32", "shape": [1]}
MASK = {"name": "a", "datatype": "UINT8", "shape": [2, 3]}
DEEP = {**MASK, "datatype": "UINT16"}
TEXT = {**BARE, "datatype": "BYTES"}
TENSOR = {"name": "a", "datatype": "FP32", "shape": [1], "data": [1]}


def changed(name: str, **fields: Any) -> StoredRecord:
    record = encoded(ANSWERS[name])
    body = orjson.loads(record.record_value or b"") | fields
    return StoredRecord(record_value=orjson.dumps(body), record_headers=record.record_headers)


@pytest.mark.parametrize(
    ("name", "fields", "complaint"),
    [
        ("list", {"task": "segment"}, "task 'segment' is not known"),
        ("detections", {"detections": [dict(FOUND)] * 1001}, "1001 detections"),
        ("detections", {"detections": [{**FOUND, "box": [1, 2, 3]}]}, "not a prediction"),
        ("detections", {"detections": [{**FOUND, "box": [1, 2, 3, "nan"]}]}, "not finite"),
        ("detections", {"detections": 5}, "not a prediction"),
        ("list", {"embedding": [1, 2]}, "has not 3 float32 values"),
        ("list", {"embedding": ["inf", 1, 2]}, "not finite"),
        ("base64", {"embedding_base64": "AAA="}, "has not 3 float32 values"),
        ("base64", {"embedding_base64": "?"}, "not a prediction"),
        ("tensors", {"outputs": [{**TENSOR, "shape": [3]}]}, "of 1 values"),
        ("tensors", {"outputs": [{**TENSOR, "shape": [-1], "data": []}]}, "cannot have the shape"),
        ("tensors", {"outputs": [{**TENSOR, "data": [[1]]}]}, "not numbers"),
        ("tensors", {"outputs": [BARE]}, "not in none"),
        ("tensors", {"outputs": [{**TENSOR, "data_base64": "AAAAAA=="}]}, "in one of"),
        ("tensors", {"outputs": [{**BARE, "data_base64": "AAA="}]}, "2 bytes are not those"),
        ("tensors", {"outputs": [{**BARE, "data_base64": "?"}]}, "not a prediction"),
        ("tensors", {"outputs": [{**BARE, "datatype": "FP8", "data_base64": ""}]}, "not known"),
        ("tensors", {"outputs": [{**TEXT, "data_base64": packed(STRING[:-1])}]}, "not the 1 str"),
        ("tensors", {"outputs": [{**MASK, "png_base64": packed(STRING)}]}, "bytes are no PNG"),
        ("tensors", {"outputs": [{**MASK, "png_base64": packed(bytes(60))}]}, "is no PNG"),
        ("tensors", {"outputs": [{**MASK, "png_base64": packed(png(2, 2))}]}, "PNG of 2 x 2"),
        ("tensors", {"outputs": [{**DEEP, "png_base64": packed(PICTURE)}]}, "8 bits"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(name: str, fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ContractError, match=complaint):
        decode_prediction(changed(name, **fields))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(["detect", "embed", "raw", "classify"]),
    st.dictionaries(
        st.sampled_from(
            [
                "detections",
                "image",
                "embedding",
                "embedding_base64",
                "dimensions",
                "outputs",
                "top",
                "heads",
            ]
        ),
        ANYTHING,
    ),
)
def test_any_answer_is_read_or_refused(task: str, fields: dict[str, Any]) -> None:
    try:
        decode_prediction(changed("list", task=task, **fields))
    except ContractError as error:
        assert str(error)


def test_the_heads_of_a_classifier_are_beside_what_readers_of_old_know() -> None:
    shape, colour = (ScoredLabel(label=name, class_id=1, score=0.5) for name in ("round", "red"))
    heads = (Head(output="shape", top=(shape,)), Head(output="colour", top=(colour,)))
    prediction = a_prediction(EVENT)._replace(top=(shape,), heads=heads)
    record = stored(encode_prediction(EVENT, b"key", prediction, "bridge/1"))
    assert dict(record.record_headers or ())["ce_type"] == CLASSIFICATION_TYPE.encode()
    body = orjson.loads(record.record_value or b"")
    assert body["top"] == body["heads"][0]["top"] == [shape]
    found = decode_prediction(record)
    assert (found.top, found.heads, found.task) == ((shape,), heads, "classify")
    body["heads"][1]["top"][0]["score"] = "nan"
    record = StoredRecord(record_value=orjson.dumps(body), record_headers=record.record_headers)
    with pytest.raises(ContractError, match="score that is not a finite number"):
        decode_prediction(record)


def test_an_answer_that_no_reader_would_take_is_not_written() -> None:
    large = Embedding(bytes(1 << 20), "base64")
    with pytest.raises(ContractError, match="its prediction has"):
        encoded(large)
