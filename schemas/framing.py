"""Confluent's wire format: a zero byte, the schema's id, Protobuf's message index, the payload.

Source: the registry's documentation, "Wire format".
"""

from wire.record import ContractError

MAGIC = b"\x00"
ID_BYTES = 4
"""Bytes of a schema's id, which is unsigned and big-endian."""
FIRST_MESSAGE = b"\x00"
"""Protobuf's list of message indexes [0], in its short form."""


def prefix(schema_id: int, *, protobuf: bool = False) -> bytes:
    """The bytes before each payload of a schema."""
    return MAGIC + schema_id.to_bytes(ID_BYTES, "big") + (FIRST_MESSAGE if protobuf else b"")


def is_framed(value: bytes) -> bool:
    """Whether this can be a framed value; JSON never begins with a zero byte."""
    return value[:1] == MAGIC


def unframe(value: bytes) -> tuple[int, bytes]:
    """The schema's id, and the bytes after it.

    Raises:
        ContractError: the value is not framed, or too short.
    """
    if not is_framed(value) or len(value) < 1 + ID_BYTES:
        raise ContractError("a value without a schema's id: a zero byte and 4 bytes")
    return int.from_bytes(value[1 : 1 + ID_BYTES], "big"), value[1 + ID_BYTES :]


def unframe_message(payload: bytes) -> bytes:
    """A Protobuf payload without its list of message indexes, which must be [0].

    Raises:
        ContractError: the list names another message, or there is no list.
    """
    if payload[:1] == FIRST_MESSAGE:
        return payload[1:]
    if payload[:2] == b"\x02\x00":  # [0] in its long form: zigzag 1, zigzag 0
        return payload[2:]
    raise ContractError("a Protobuf value that is not the first message of its schema")
