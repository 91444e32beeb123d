"""The contract as JSON Schema and AsyncAPI, made from the types and constants that the code
uses."""

from collections.abc import Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from wire.answers import MAX_DETECTIONS, Detection, ImageSize
from wire.image import IMAGE_TYPE, MAX_ID, NDARRAY
from wire.prediction import (
    CLASSIFICATION_TYPE,
    PREDICTION_TYPE,
    STAMPS,
    Head,
    ImageRecord,
    ScoredLabel,
)
from wire.tensors import ENCODINGS, OutputTensor
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

Schema = dict[str, Any]

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema_of(hint: Any) -> Schema:
    """JSON Schema of a type: a scalar, a sequence, a union, or a TypedDict of these."""
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if is_typeddict(hint):
        fields = get_type_hints(hint)
        return {
            "type": "object",
            "required": [name for name in fields if name in hint.__required_keys__],
            "properties": {name: schema_of(one) for name, one in fields.items()},
        }
    if get_origin(hint) is Sequence:
        return {"type": "array", "items": schema_of(get_args(hint)[0])}
    if get_origin(hint) in (Union, UnionType):
        return {"anyOf": [schema_of(one) for one in get_args(hint)]}
    raise TypeError(f"no JSON Schema for {hint!r}")


def _body(task: str, fields: Schema, required: Sequence[str]) -> Schema:
    """The schema of the predictions of a task; `fields` are the task's own fields."""
    nanoseconds = {"type": "integer", "minimum": 0}
    told = {"type": "string", "const": task}
    common: Schema = {
        "id": {"type": "string", "maxLength": MAX_ID, "description": "of the image"},
        "model": {"type": "string"},
        "version": {"type": "string", "description": "of the model that answered"},
        "task": told,
        "batch_size": {"type": "integer", "description": "images in the request to Triton"},
        "stamps_ns": {
            "type": "object",
            "description": "nanoseconds since the epoch",
            "required": list(STAMPS),
            "properties": dict.fromkeys(STAMPS, nanoseconds),
        },
        "record": {**schema_of(ImageRecord), "description": "where the image is"},
    }
    # The first version had only classifications, so `task` was not needed; bridges say where the
    # image is only since a later version.
    first = () if task != "classify" else ("task",)
    always = [name for name in common if name not in ("record", *first)]
    return {
        "type": "object",
        "required": [*always, *required],
        "properties": {**common, **fields},
    }


def _bodies() -> dict[str, Schema]:
    box = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    box["description"] = "left, top, right, bottom in pixels of the image as it is looked at"
    detection = schema_of(Detection)
    detection["properties"]["box"] = box
    vector = {
        "embedding": {"type": "array", "items": {"type": "number"}},
        "embedding_base64": {"type": "string", "description": "float32, little-endian"},
    }
    embedding = _body("embed", {"dimensions": {"type": "integer"}, **vector}, ["dimensions"])
    embedding["oneOf"] = [{"required": [name]} for name in vector]
    tensor = schema_of(OutputTensor)
    tensor["oneOf"] = [{"required": [name]} for name in ENCODINGS]
    for name, said in (
        ("data_base64", "the protocol's binary data: little-endian, the last index fastest"),
        ("png_base64", "a grey PNG of a UINT8 or UINT16 tensor [height, width]"),
    ):
        tensor["properties"][name]["description"] = said
    classes = {
        "top": {"type": "array", "items": schema_of(ScoredLabel)},
        "heads": {
            "type": "array",
            "items": schema_of(Head),
            "description": "of a classifier with several outputs; top is that of the first",
        },
    }
    return {
        "classify": _body("classify", classes, ["top"]),
        "detect": _body(
            "detect",
            {
                "detections": {"type": "array", "items": detection, "maxItems": MAX_DETECTIONS},
                "image": {"anyOf": [schema_of(ImageSize), {"type": "null"}]},
            },
            ["detections"],
        ),
        "embed": embedding,
        "raw": _body("raw", {"outputs": {"type": "array", "items": tensor}}, ["outputs"]),
    }


def prediction_schema() -> Schema:
    """JSON Schema of the value of any prediction, of every version that readers know."""
    return {
        "$schema": JSON_SCHEMA,
        "title": "Prediction",
        "oneOf": list(_bodies().values()),
    }


def _headers(kinds: Sequence[str], **more: Schema) -> Schema:
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "ce_specversion": {"type": "string", "const": "1.0"},
            "ce_type": {"type": "string", "enum": list(kinds)},
            "ce_id": {"type": "string", "maxLength": MAX_ID},
            "ce_source": text,
            "ce_time": {"type": "string", "format": "date-time"},
            "ce_runid": text,
            "traceparent": text,
            **more,
        },
    }


def asyncapi(version: str) -> Schema:
    """The topics and their messages, as AsyncAPI 3.0."""
    text, number = {"type": "string"}, {"type": "string", "pattern": "^[0-9]+$"}
    letters = {f"dlq.error.{name}": text for name in ("stage", "class", "message")}
    letters |= {"dlq.topic": text}
    letters |= {f"dlq.{name}": number for name in ("partition", "offset", "attempts", "timestamp")}
    image: Schema = {
        "content-type": {
            "type": "string",
            "description": f"of a raw array {NDARRAY}; what an encoded image is, its bytes say",
        },
        "ce_senttime": {"type": "string", "format": "date-time"},
        "ce_label": text,
        "ce_dataref": {
            "type": "string",
            "format": "uri",
            "description": "of a message without a value: where the image lies, s3://bucket/key",
        },
        "ce_dtype": text,
        "ce_shape": {"type": "string", "pattern": "^[0-9]+(,[0-9]+)*$"},
    }
    messages: dict[str, Schema] = {
        "image": {
            "summary": "Encoded image, or a raw array",
            "headers": _headers([IMAGE_TYPE], **image),
        },
        "deadLetter": {
            "summary": "Image that can have no prediction, as it came, with the reason",
            "headers": {
                "type": "object",
                "required": list(letters),
                "properties": letters | {"dlq.id": text},
            },
        },
    }
    for task, body in _bodies().items():
        kind = CLASSIFICATION_TYPE if task == "classify" else PREDICTION_TYPE
        messages[f"prediction.{task}"] = {
            "summary": f"Answer to one image, of the task {task}",
            "contentType": "application/json",
            "headers": _headers([kind]),
            "payload": body,
        }
    topics = {
        "images": (IMAGES, ["image"]),
        "predictions": (PREDICTIONS, [one for one in messages if one.startswith("prediction.")]),
        "deadLetters": (DEAD_LETTERS, ["deadLetter"]),
    }
    directions = {"images": "receive", "predictions": "send", "deadLetters": "send"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Triton-Kafka bridge",
            "version": version,
            "description": "What the bridge reads from Kafka and what it writes; docs/messages.md "
            "says what it means.",
        },
        "channels": {
            channel: {
                "address": address,
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in messages_of
                },
            }
            for channel, (address, messages_of) in topics.items()
        },
        "operations": {
            f"{action}.{channel}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
            }
            for channel, action in directions.items()
        },
        "components": {"messages": messages},
    }
