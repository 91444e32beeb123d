"""Each answer is a line, each object of a detection too; what failed says why."""

import csv
import io
import json
from contextlib import closing

import pytest

from consumer.reading.lines import COLUMNS, Format, Found, found_in, header, line_of
from schemas.formats import FORMATS, FramedSerializer
from schemas.reading import make_reader
from schemas.settings import RegistrySettings
from tests.schemas.test_formats import predicted
from tests.schemas.test_registry import avro_record
from tests.wire.test_answers import ANSWERS, EVENT, encoded
from tests.wire.test_contract import stored
from tests.wire.test_golden import recorded
from wire.prediction import encode_prediction
from wire.record import StoredRecord


def test_a_classification_is_its_best_class() -> None:
    assert found_in(recorded("prediction"), dead_letter=False) == [Found("golden-0", "cat", 0.9)]


def test_a_detection_is_a_line_for_each_object() -> None:
    found = found_in(recorded("detections", 2), dead_letter=False)
    assert [one.id for one in found] == ["golden-0"] * len(found)
    assert all(one.label and one.score is not None and len(one.box) == 4 for one in found)


@pytest.mark.parametrize("name", ["list", "base64", "tensors"])
def test_an_answer_without_labels_says_what_it_is(name: str) -> None:
    (found,) = found_in(encoded(ANSWERS[name]), dead_letter=False)
    assert (found.label, found.score, found.failed) == ("", None, False)
    assert found.note


def test_what_has_no_prediction_says_why() -> None:
    (letter,) = found_in(recorded("dead_letter"), dead_letter=True)
    assert (letter.id, letter.note) == ("golden-0", "decode/not_an_image: not an image")
    (strange,) = found_in(StoredRecord("predictions", 0, 1, b"k"), dead_letter=False)
    assert (strange.id, strange.failed) == ("k", True)
    (lost,) = found_in(StoredRecord(unreadable="its headers"), dead_letter=False)
    assert lost.note == "its headers"


@pytest.mark.parametrize("name", ["protobuf", "json-schema"])
def test_predictions_by_a_schema_are_read_as_others_are(name: str) -> None:
    with closing(make_reader(RegistrySettings(""), pytest.fail)) as decode:
        serializer = FramedSerializer(FORMATS[name], 1)
        for answer in ("classes", "detections"):
            record = stored(
                encode_prediction(EVENT, b"k", predicted(answer), "b", serializer=serializer)
            )
            plain = stored(encode_prediction(EVENT, b"k", predicted(answer), "b"))
            found = found_in(record, dead_letter=False, decode=decode)
            assert found == found_in(plain, dead_letter=False)
            assert not found[0].failed


def test_avro_without_a_registry_is_a_line_that_says_what_to_give() -> None:
    told: list[str] = []
    with closing(make_reader(RegistrySettings(""), told.append)) as decode:
        (found,) = found_in(avro_record(1), dead_letter=False, decode=decode)
    assert found.failed
    assert "--schema-registry-url" in found.note
    assert len(told) == 1


LINES = [
    Found("a, b", 'the "cat"', 0.9876543),
    Found("c", "dog", 0.5, (1.0, 2.5, 3.0, 4.0)),
    Found("d", note="decode/empty: no value", failed=True),
]


def test_csv_is_read_back() -> None:
    text = "\n".join([str(header(Format.CSV)), *(line_of(one, Format.CSV) for one in LINES)])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == COLUMNS
    assert [row["id"] for row in rows] == ["a, b", "c", "d"]
    assert (rows[0]["label"], rows[0]["score"], rows[0]["left"]) == ('the "cat"', "0.987654", "")
    assert (rows[1]["left"], rows[1]["bottom"]) == ("1.0", "4.0")
    assert rows[2]["note"] == "decode/empty: no value"


def test_json_is_read_back() -> None:
    assert [json.loads(line_of(one, Format.JSON)) for one in LINES] == [
        {"id": "a, b", "label": 'the "cat"', "score": 0.9876543},
        {"id": "c", "label": "dog", "score": 0.5, "box": [1.0, 2.5, 3.0, 4.0]},
        {"id": "d", "error": "decode/empty: no value"},
    ]


def test_text_is_one_line_whatever_a_stranger_wrote() -> None:
    line = line_of(Found("a\nb\x1b[31m", "c\td", 0.5), Format.TEXT)
    assert line.isprintable()
    painted = line_of(LINES[2], Format.TEXT, lambda text: f"<{text}>")
    assert painted == "d  <decode/empty: no value>"
