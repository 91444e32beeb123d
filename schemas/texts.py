"""The schema of a prediction as text, as a registry takes it."""

import json
from typing import Any

from schemas.model import NAMESPACE, PREDICTION, Field, Record

JSON_SCHEMA = "http://json-schema.org/draft-07/schema#"
"""The version of JSON Schema that every registry and Kafka Connect support."""

_PROTO = {"int": "int32", "long": "int64", "boolean": "bool"}
_JSON: dict[str, Any] = {
    "string": {"type": "string"},
    "int": {"type": "integer", "minimum": -(1 << 31), "maximum": (1 << 31) - 1},
    "long": {"type": "integer"},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "boolean": {"type": "boolean"},
}


def avro(record: Record = PREDICTION) -> dict[str, Any]:
    """The schema as Avro's JSON; a record is written out at its first place, and later named."""
    return _avro(record, set())


def _avro(record: Record, known: set[str]) -> dict[str, Any]:
    known.add(record.name)
    made = {"type": "record", "name": record.name, "namespace": NAMESPACE}
    if record.doc:
        made["doc"] = record.doc
    return {**made, "fields": [_avro_field(field, known) for field in record.fields]}


def _avro_field(field: Field, known: set[str]) -> dict[str, Any]:
    kind: Any = field.kind
    if isinstance(kind, Record):
        kind = f"{NAMESPACE}.{kind.name}" if kind.name in known else _avro(kind, known)
    if field.repeated:
        kind = {"type": "array", "items": kind}
    made: dict[str, Any] = {"name": field.name}
    if not field.nullable:
        made["type"] = kind
    elif field.repeated:
        # Not a union with null, which would take fastavro twice the time.
        made |= {"type": kind, "default": []}
    else:
        made |= {"type": ["null", kind], "default": None}
    return made | ({"doc": field.doc} if field.doc else {})


def protobuf(record: Record = PREDICTION) -> str:
    """The schema as a .proto file whose first message is `record`, which is the index [0] of
    framing."""
    lines = ['syntax = "proto3";', "", f"package {NAMESPACE};"]
    for one in [record, *(inner for inner in record.records() if inner is not record)]:
        lines += ["", *([f"// {one.doc}."] if one.doc else []), f"message {one.name} {{"]
        for field in one.fields:
            kind = field.kind.name if isinstance(field.kind, Record) else field.kind
            label = "repeated " if field.repeated else "optional " if _optional(field) else ""
            doc = f"  // {field.doc}" if field.doc else ""
            lines.append(f"  {label}{_PROTO.get(kind, kind)} {field.name} = {field.number};{doc}")
        lines.append("}")
    return "\n".join(lines) + "\n"


def _optional(field: Field) -> bool:
    return field.nullable and not field.repeated and not isinstance(field.kind, Record)


def json_schema(record: Record = PREDICTION) -> dict[str, Any]:
    """The schema as JSON Schema. It allows no additional properties: only to such a schema may a
    later version add a property under the registry's rule BACKWARD."""
    return {"$schema": JSON_SCHEMA, "title": record.full_name, **_json(record)}


def _json(record: Record) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [field.name for field in record.fields if not field.nullable],
        "properties": {field.name: _json_field(field) for field in record.fields},
    }


def _json_field(field: Field) -> dict[str, Any]:
    kind = _json(field.kind) if isinstance(field.kind, Record) else _JSON[field.kind]
    made = {"type": "array", "items": kind} if field.repeated else kind
    if field.nullable and not field.repeated:
        made = {"oneOf": [{"type": "null"}, made]}
    return {**made, "description": field.doc} if field.doc else made


def text_of(value: dict[str, Any]) -> str:
    """The text of a schema in JSON: equal for equal schemas, so that a registry recognises it."""
    return json.dumps(value, indent=2) + "\n"
