"""Every task's answer survives the way through Kafka; what is none is refused by name."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.test_contract import a_prediction, an_image, stored
from wire.answers import (
    FLOAT32,
    Detection,
    Detections,
    Embedding,
    ImageSize,
    OtherAnswer,
    OutputTensor,
    Tensors,
)
from wire.image import decode_image
from wire.prediction import (
    CLASSIFICATION_TYPE,
    PREDICTION_TYPE,
    decode_prediction,
    encode_prediction,
)
from wire.record import ContractError, StoredRecord

EVENT = decode_image(stored(an_image()))

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
        ("tensors", {"outputs": [{**TENSOR, "shape": [-1], "data": []}]}, "of 0 values"),
        ("tensors", {"outputs": [{**TENSOR, "data": [[1]]}]}, "not numbers"),
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
            ["detections", "image", "embedding", "embedding_base64", "dimensions", "outputs", "top"]
        ),
        ANYTHING,
    ),
)
def test_any_answer_is_read_or_refused(task: str, fields: dict[str, Any]) -> None:
    try:
        decode_prediction(changed("list", task=task, **fields))
    except ContractError as error:
        assert str(error)


def test_an_answer_that_no_reader_would_take_is_not_written() -> None:
    large = Embedding(bytes(1 << 20), "base64")
    with pytest.raises(ContractError, match="its prediction has"):
        encoded(large)
