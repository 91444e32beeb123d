"""The published contract is that of the code, and every recorded message keeps to it."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from scripts.contract import pages, yaml_lines
from tests.wire.test_answers import ANSWERS, encoded
from tests.wire.test_golden import recorded
from wire.schema import asyncapi, prediction_schema

SCHEMA = Draft202012Validator(prediction_schema())
RECORDED = [
    ("prediction", 1),
    ("prediction_with_task", 1),
    ("detections", 2),
    ("embedding", 2),
    ("embedding_list", 2),
    ("tensors", 2),
]


@pytest.mark.parametrize("path", pages())
def test_the_published_contract_is_current(path: Path) -> None:
    assert path.read_text() == pages()[path], "out of date: run scripts/contract.py (make docs)"


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(prediction_schema())
    for message in asyncapi("1")["components"]["messages"].values():
        Draft202012Validator.check_schema(message["headers"])
        Draft202012Validator.check_schema(message.get("payload", {}))


@pytest.mark.parametrize(("name", "version"), RECORDED)
def test_recorded_predictions_of_every_version_keep_to_it(name: str, version: int) -> None:
    record = recorded(name, version)
    SCHEMA.validate(orjson.loads(record.record_value or b""))
    headers = {key: (value or b"").decode() for key, value in record.record_headers or ()}
    kinds = [
        message
        for key, message in asyncapi("1")["components"]["messages"].items()
        if key.startswith("prediction.")
        and Draft202012Validator(message["headers"]).is_valid(headers)
    ]
    assert kinds


@pytest.mark.parametrize("answer", [None, *ANSWERS.values()], ids=["classes", *ANSWERS])
def test_what_is_written_today_keeps_to_it(answer: Any) -> None:
    SCHEMA.validate(orjson.loads(encoded(answer).record_value or b""))


@pytest.mark.parametrize(("name", "version"), [("image_png", 1), ("image_raw", 1)])
def test_recorded_images_have_its_headers(name: str, version: int) -> None:
    headers = {
        key: (value or b"").decode() for key, value in recorded(name, version).record_headers or ()
    }
    image = asyncapi("1")["components"]["messages"]["image"]
    Draft202012Validator(image["headers"]).validate(headers)


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "segment"},
        {"top": [{"label": "cat"}]},
        {"stamps_ns": {}},
        {"task": "detect"},
        {"batch_size": "7"},
    ],
)
def test_what_is_no_prediction_is_told(wrong: dict[str, Any]) -> None:
    body = orjson.loads(recorded("prediction").record_value or b"")
    assert SCHEMA.is_valid(body)
    assert not SCHEMA.is_valid(body | wrong)


def test_json_is_written_as_yaml() -> None:
    value = {"a": [1, "b: c", {"$d": None, "e": []}], "f.g": {"h": True}}
    assert yaml_lines(value) == [
        "a:", "  - 1", '  - "b: c"', "  -", '    "$d": null', "    e: []",
        "f.g:", "  h: true",
    ]  # fmt: skip
