"""The Protobuf class of a prediction, made from the same description as its .proto text."""

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from schemas.model import NAMESPACE, PREDICTION, Field, Record
from schemas.rows import Row
from wire.record import ContractError

FILE = "prediction.proto"

_TYPES = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "string": _TYPES.TYPE_STRING,
    "int": _TYPES.TYPE_INT32,
    "long": _TYPES.TYPE_INT64,
    "float": _TYPES.TYPE_FLOAT,
    "double": _TYPES.TYPE_DOUBLE,
    "boolean": _TYPES.TYPE_BOOL,
}


def file_of(record: Record) -> Any:
    """The descriptor of a file whose first message is `record`."""
    file = descriptor_pb2.FileDescriptorProto(name=FILE, package=NAMESPACE, syntax="proto3")
    for one in [record, *(inner for inner in record.records() if inner is not record)]:
        message = file.message_type.add(name=one.name)
        optional = [field for field in one.fields if _presence(field)]
        for field in one.fields:
            made = message.field.add(
                name=field.name,
                number=field.number,
                label=_TYPES.LABEL_REPEATED if field.repeated else _TYPES.LABEL_OPTIONAL,
            )
            if isinstance(field.kind, Record):
                made.type, made.type_name = _TYPES.TYPE_MESSAGE, f".{field.kind.full_name}"
            else:
                made.type = _KINDS[field.kind]
            if field in optional:  # proto3 marks an optional field by a oneof with one field
                made.proto3_optional, made.oneof_index = True, optional.index(field)
        for field in optional:
            message.oneof_decl.add(name=f"_{field.name}")
    return file


def _presence(field: Field) -> bool:
    return field.nullable and not field.repeated and not isinstance(field.kind, Record)


def class_of(record: Record) -> type[Message]:
    """A new class for `record`, in its own descriptor pool."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file_of(record))
    made: type[Message] = message_factory.GetMessageClass(
        pool.FindMessageTypeByName(record.full_name)
    )
    return made


@cache
def prediction_class() -> type[Message]:
    """The Protobuf class of a prediction."""
    return class_of(PREDICTION)


def write_message(row: Row) -> bytes:
    """A row as Protobuf.

    Raises:
        ValueError, TypeError: a field cannot hold its value.
    """
    written: bytes = prediction_class()(**row).SerializeToString()
    return written


def read_message(payload: bytes) -> Row:
    """Read a row from a message.

    Raises:
        ContractError: the payload is no such message.
    """
    try:
        message = prediction_class().FromString(payload)
    except DecodeError as error:
        raise ContractError(f"not a Protobuf prediction: {error}") from None
    return _row(message, PREDICTION)


def _row(message: Message, record: Record) -> Row:
    row: Row = {}
    for field in record.fields:
        kind = field.kind
        if field.nullable and not field.repeated and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.repeated:
            if field.nullable and not value:
                continue
            row[field.name] = (
                [_row(one, kind) for one in value] if isinstance(kind, Record) else list(value)
            )
        else:
            row[field.name] = _row(value, kind) if isinstance(kind, Record) else value
    return row
