"""The formats of a schema registry: how each writes and reads a row.

fastavro and Protobuf are used directly, with the framing of `schemas.framing`: Confluent's
serializers do the same with a subject, a cache and rules looked up for each message, at more CPU
time (docs/schemas.md has the figures), and would ask the registry on the pipeline's thread.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import orjson

from cli.app import install
from schemas import texts
from schemas.framing import prefix, unframe_message
from schemas.messages import read_message, write_message
from schemas.model import PREDICTION
from schemas.rows import Body, Row, body_of, row_of
from wire.record import ContractError

FormatName = Literal["json-schema", "avro", "protobuf"]


class MissingPackageError(Exception):
    """A package that a format needs is not installed; the text says how to install it."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        name: its name in the settings.
        schema_type: its name in the registry's protocol.
        content_type: content type of its records, which differs from those of other programs.
        text: returns the schema as the registry takes it.
        write: returns a row's payload.
    """

    name: FormatName
    schema_type: Literal["JSON", "AVRO", "PROTOBUF"]
    content_type: bytes
    text: Callable[[], str]
    write: Callable[[Row], bytes]


@dataclass(frozen=True, slots=True)
class FramedSerializer:
    """Writes the body of a prediction as a framed value; the registry is not asked.

    Attributes:
        content_type: content type of the value.
        head: bytes before the payload.
    """

    format: Format
    schema_id: int
    content_type: bytes = field(init=False)
    head: bytes = field(init=False)

    def __post_init__(self) -> None:
        protobuf = self.format.schema_type == "PROTOBUF"
        object.__setattr__(self, "content_type", self.format.content_type)
        object.__setattr__(self, "head", prefix(self.schema_id, protobuf=protobuf))

    def __call__(self, body: Body) -> bytes:
        return self.head + self.format.write(row_of(body))


def _fastavro() -> Any:
    try:
        import fastavro  # noqa: PLC0415 - only where Avro is written or read
    except ImportError:
        raise MissingPackageError(
            f"Avro needs fastavro, which is not installed: {install('schemas')}"
        ) from None
    return fastavro


@cache
def avro_schema() -> Any:
    """The Avro schema of a prediction, as fastavro reads it.

    Raises:
        MissingPackageError: fastavro is not installed.
    """
    return _fastavro().parse_schema(texts.avro())


def write_avro(row: Row) -> bytes:
    """A row as Avro.

    Raises:
        ValueError, TypeError: a field cannot hold its value.
    """
    out = io.BytesIO()
    _fastavro().schemaless_writer(out, avro_schema(), row)
    return out.getvalue()


def parse_avro(text: str) -> Any:
    """Parse a writer's schema.

    Raises:
        ContractError: the text is no schema.
        MissingPackageError: fastavro is not installed.
    """
    fastavro = _fastavro()
    try:
        return fastavro.parse_schema(orjson.loads(text))
    except Exception as error:
        raise ContractError(f"its Avro schema cannot be read: {error}") from None


def read_avro(payload: bytes, writer: Any) -> Row:
    """Read a row that was written with this or another version of the schema.

    Raises:
        ContractError: the payload is no prediction.
    """
    data = io.BytesIO(payload)
    try:
        row = _fastavro().schemaless_reader(data, writer, avro_schema())
    except MissingPackageError:
        raise
    except Exception as error:  # a stranger's bytes can make fastavro raise anything
        raise ContractError(f"not an Avro prediction: {type(error).__name__}: {error}") from None
    if data.read(1):
        raise ContractError("an Avro prediction with more bytes behind it")
    if not isinstance(row, dict):
        raise ContractError("not an Avro record")
    return row


def read_json(payload: bytes) -> Row:
    """Read a row from JSON.

    Raises:
        ContractError: the payload is no JSON object.
    """
    try:
        row = orjson.loads(payload)
    except ValueError as error:
        raise ContractError(f"not a JSON prediction: {error}") from None
    if not isinstance(row, dict):
        raise ContractError("a JSON prediction that is no object")
    return row


def read_protobuf(payload: bytes) -> Row:
    """Read a row from Protobuf.

    Raises:
        ContractError: the payload is no such message.
    """
    return read_message(unframe_message(payload))


def body_from(row: Row) -> Body:
    """The body of a row that came from Kafka.

    Raises:
        ContractError: the row is no prediction's.
    """
    try:
        return body_of(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ContractError):
            raise
        raise ContractError(f"not a prediction: {type(error).__name__}: {error}") from None


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format(
            "json-schema", "JSON", b"application/vnd.confluent.json",
            lambda: texts.text_of(texts.json_schema()), orjson.dumps,
        ),
        Format(
            "avro", "AVRO", b"application/vnd.confluent.avro",
            lambda: texts.text_of(texts.avro()), write_avro,
        ),
        Format(
            "protobuf", "PROTOBUF", b"application/vnd.confluent.protobuf",
            texts.protobuf, write_message,
        ),
    )
}  # fmt: skip
"""The formats, by their names in the settings."""

RECORD_NAME = PREDICTION.full_name
