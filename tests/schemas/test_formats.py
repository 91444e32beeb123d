"""Every format carries every prediction, and each version of a schema reads the other's."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_type_hints

import fastavro
import orjson
import pytest
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from schemas import texts
from schemas.formats import (
    FORMATS,
    FramedSerializer,
    body_from,
    parse_avro,
    read_avro,
    read_json,
    read_protobuf,
    write_avro,
)
from schemas.messages import class_of, prediction_class, write_message
from schemas.model import (
    DETECTION,
    IMAGE_SIZE,
    PREDICTION,
    SCORED_LABEL,
    STAMP_FIELDS,
    Field,
)
from schemas.reading import PredictionReader
from schemas.registry import Registry
from schemas.rows import row_of
from tests.wire.test_answers import ANSWERS, EVENT
from tests.wire.test_contract import a_prediction, stored
from wire.answers import Detection, Embedding, ImageSize, OtherAnswer, Tensors
from wire.prediction import (
    STAMPS,
    Prediction,
    ScoredLabel,
    decode_prediction,
    encode_prediction,
)
from wire.record import ContractError, StoredRecord
from wire.tensors import OutputTensor

CASES: dict[str, OtherAnswer | None] = {
    "classes": None,
    **ANSWERS,
    "large integers": Tensors(
        (
            OutputTensor(name="u", datatype="UINT64", shape=(2,), data=((1 << 64) - 1, 0)),
            OutputTensor(name="i", datatype="INT64", shape=(2,), data=(-(1 << 63), (1 << 63) - 1)),
        )
    ),
}


class OneSchema(Registry):
    """Knows the schema of the id 7."""

    def __init__(self) -> None:
        self.asked = 0

    def writer_text(self, schema_id: int) -> str:
        assert schema_id == 7
        self.asked += 1
        return FORMATS["avro"].text()


def predicted(case: str) -> Prediction:
    prediction = a_prediction(EVENT)
    answer = CASES[case]
    return prediction if answer is None else prediction._replace(answer=answer, top=())


def written(case: str, name: str) -> StoredRecord:
    serializer = FramedSerializer(FORMATS[name], 7)
    return stored(
        encode_prediction(EVENT, b"key", predicted(case), "bridge/1", serializer=serializer)
    )


def body(case: str) -> dict[str, Any]:
    value: dict[str, Any] = orjson.loads(
        encode_prediction(EVENT, b"key", predicted(case), "bridge/1").value or b""
    )
    return value


def as_list(prediction: Prediction) -> Prediction:
    """An embedding is a list in these formats, however JSON has it."""
    answer = prediction.answer
    if isinstance(answer, Embedding):
        return prediction._replace(answer=replace(answer, encoding="list"))
    return prediction


def fail(text: str) -> None:
    pytest.fail(text)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_what_is_written_in_any_format_is_read_as_it_is_from_json(case: str, name: str) -> None:
    registry = OneSchema()
    read = PredictionReader(registry, fail)
    record = written(case, name)
    plain = stored(encode_prediction(EVENT, b"key", predicted(case), "bridge/1"))
    assert read(record) == as_list(decode_prediction(plain))
    assert read(record) == read(record)
    assert registry.asked == (name == "avro")
    assert read(plain) == decode_prediction(plain)
    headers, others = (dict(one.record_headers or ()) for one in (record, plain))
    assert headers.pop("content-type") == FORMATS[name].content_type
    assert others.pop("content-type") == b"application/json"
    assert headers == others


@pytest.mark.parametrize("name", FORMATS)
def test_a_reader_of_json_alone_says_that_it_is_none(name: str) -> None:
    with pytest.raises(ContractError):
        decode_prediction(written("classes", name))


@pytest.mark.parametrize("case", CASES)
def test_confluents_own_deserializers_read_json_schema_and_protobuf(case: str) -> None:
    context = SerializationContext("predictions", MessageField.VALUE)
    row = row_of(body(case))
    found = JSONDeserializer(FORMATS["json-schema"].text())(
        written(case, "json-schema").value(), context
    )
    assert found == row
    made = ProtobufDeserializer(prediction_class(), {"use.deprecated.format": False})(
        written(case, "protobuf").value(), context
    )
    assert made == prediction_class()(**row)


@pytest.mark.parametrize("case", CASES)
def test_rows_keep_to_the_json_schema_and_have_a_field_for_all_that_json_says(case: str) -> None:
    Draft7Validator.check_schema(texts.json_schema())
    row = row_of(body(case))
    Draft7Validator(texts.json_schema()).validate(row)
    assert set(row) <= {field.name for field in PREDICTION.fields}


def test_the_model_has_the_fields_of_the_contracts_types() -> None:
    types = {SCORED_LABEL: ScoredLabel, DETECTION: Detection, IMAGE_SIZE: ImageSize}
    for record, kind in types.items():
        assert [field.name for field in record.fields] == list(get_type_hints(kind))
    assert [field.name for field in STAMP_FIELDS.fields] == list(STAMPS)


def test_field_numbers_and_names_occur_once() -> None:
    for record in PREDICTION.records():
        assert len({field.number for field in record.fields}) == len(record.fields)
        assert len({field.name for field in record.fields}) == len(record.fields)


NEWER = replace(
    PREDICTION,
    fields=(
        *PREDICTION.fields,
        Field(100, "camera", "string", nullable=True),
        Field(101, "tags", "string", repeated=True, nullable=True),
    ),
)
ADDED = {"camera": "door", "tags": ["a", "b"]}
OLDER = replace(PREDICTION, fields=tuple(one for one in PREDICTION.fields if one.name != "record"))


def avro_of(value: dict[str, Any], schema: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


@pytest.mark.parametrize("case", CASES)
def test_this_reader_reads_newer_and_older_avro(case: str) -> None:
    row = row_of(body(case))
    wanted = body_from(read_avro(write_avro(row), parse_avro(FORMATS["avro"].text())))
    for record, more in ((NEWER, ADDED), (OLDER, {})):
        schema = texts.avro(record)
        found = read_avro(avro_of({**row, **more}, schema), parse_avro(texts.text_of(schema)))
        assert body_from(found) == wanted


@pytest.mark.parametrize("case", CASES)
def test_newer_and_older_readers_read_this_avro(case: str) -> None:
    payload = write_avro(row_of(body(case)))
    writer = fastavro.parse_schema(texts.avro())
    same: Any = fastavro.schemaless_reader(io.BytesIO(payload), writer, writer)
    newer, older = (
        fastavro.schemaless_reader(
            io.BytesIO(payload), writer, fastavro.parse_schema(texts.avro(one))
        )
        for one in (NEWER, OLDER)
    )
    assert newer == {**same, "camera": None, "tags": []}
    assert older == {name: value for name, value in same.items() if name != "record"}


@pytest.mark.parametrize("case", CASES)
def test_protobuf_is_read_across_versions_both_ways(case: str) -> None:
    row = row_of(body(case))
    newer, older = class_of(NEWER), class_of(OLDER)
    wanted = body_from(read_protobuf(b"\0" + write_message(row)))
    assert body_from(read_protobuf(b"\0" + newer(**row, **ADDED).SerializeToString())) == wanted
    assert body_from(read_protobuf(b"\0" + older(**row).SerializeToString())) == wanted
    assert newer.FromString(write_message(row)) == newer(**row)
    assert older.FromString(write_message(row)).id == row["id"]


@pytest.mark.parametrize("case", CASES)
def test_json_is_read_across_versions_both_ways(case: str) -> None:
    row = row_of(body(case))
    assert body_from(read_json(orjson.dumps({**row, **ADDED})))["id"] == row["id"]
    Draft7Validator(texts.json_schema(NEWER)).validate(row)  # a newer reader, of this writer
    Draft7Validator(texts.json_schema()).validate({k: v for k, v in row.items() if k != "record"})


READERS: dict[str, Callable[[bytes], Any]] = {
    "avro": lambda payload: read_avro(payload, parse_avro(FORMATS["avro"].text())),
    "protobuf": read_protobuf,
    "json-schema": read_json,
}


@pytest.mark.parametrize("name", READERS)
@given(payload=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(name: str, payload: bytes) -> None:
    content_type = FORMATS[name].content_type
    record = StoredRecord(
        record_value=b"\0\0\0\0\x07" + payload,
        record_headers=[
            ("ce_type", b"triton-kafka-bridge.prediction.v2"),
            ("content-type", content_type),
        ],
    )
    with pytest.raises(ContractError):
        PredictionReader(OneSchema(), fail)(record)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("case", ["classes", "detections", "list", "tensors"])
def test_a_cut_value_is_refused_or_read_and_never_a_traceback(case: str, name: str) -> None:
    whole = written(case, name)
    value = whole.record_value or b""
    read = PredictionReader(OneSchema(), fail)
    for length in range(len(value)):
        cut = StoredRecord(record_value=value[:length], record_headers=whole.record_headers)
        try:
            read(cut)
        except ContractError:
            continue
        assert name == "protobuf"  # a message is a list of fields: it can end after any of them


@pytest.mark.parametrize("name", READERS)
def test_heads_and_encoded_tensors_survive(name: str) -> None:
    top = [{"label": "cat", "class_id": 3, "score": 0.5}]
    shape = {"datatype": "UINT8", "shape": [1, 2]}
    raw = [
        {"name": "m", **shape, "png_base64": "AA=="},
        {"name": "b", **shape, "data_base64": "AAE="},
    ]
    several = {
        **body("classes"),
        "heads": [{"output": "a", "top": top}, {"output": "b", "top": []}],
    }
    for whole, field in ((several, "heads"), ({**body("tensors"), "outputs": raw}, "outputs")):
        payload = FramedSerializer(FORMATS[name], 7)(whole)[5:]
        assert body_from(READERS[name](payload))[field] == whole[field]
