"""Limits of a wrapping, checked before any of it is parsed or decoded."""

import binascii
from typing import Any

import orjson

from wire.reason import ReasonError
from wire.record import ContractError

MAX_BESIDE = 1 << 20
"""Most bytes of a wrapping in addition to its image: names, spaces and other JSON values."""
MAX_ITEMS = 10_000
"""Most values in the JSON around an image: each takes some 60 bytes once parsed, and 3 before."""
LINES = 80
"""Characters of a base64 line, by which line breaks are estimated; RFC 2045 has lines of 76."""

_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_SPACES = b" \t\r\n"


class WrappingError(ReasonError, ContractError):
    """A wrapped image that cannot be taken out."""

    def __init__(self, message: str, kind: str = "wrapping") -> None:
        super().__init__(kind, message)


class TooLargeError(WrappingError):
    """The image inside would be larger than an image may be."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "too_large")


def parse_object(value: bytes, what: str, max_bytes: int, max_items: int) -> dict[str, Any]:
    """The JSON object in a value.

    Args:
        value: the record's value.
        what: what the value should be, for the error text.
        max_bytes: most bytes of the value.
        max_items: most objects, arrays and values in it.

    Raises:
        WrappingError: the value is no JSON object, or it exceeds a limit.
    """
    if len(value) > max_bytes:
        raise TooLargeError(f"{what} of {len(value):,} bytes, {max_bytes:,} are allowed")
    # Counted before it is parsed: in memory, small values take twenty times their text. These
    # characters inside a string count too; base64 has none of them.
    items = value.count(b",") + value.count(b"[") + value.count(b"{")
    if items > max_items:
        raise WrappingError(f"{what} of about {items:,} values, {max_items:,} are allowed")
    try:
        # orjson refuses JSON that is nested more than 1,024 deep.
        body = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise WrappingError(f"not {what}: no JSON: {_position(error)}") from None
    if not isinstance(body, dict):
        raise WrappingError(f"not {what}: its JSON is no object")
    return body


def _position(error: orjson.JSONDecodeError) -> str:
    return f"{error.msg[:80]} at character {error.pos:,}"


def text_bytes(max_bytes: int) -> int:
    """Characters that the base64 of `max_bytes` bytes has at most, line breaks included."""
    plain = 4 * (max_bytes // 3 + 1)
    return plain + 2 * (plain // LINES + 1) + MAX_BESIDE


def from_base64(text: bytes, what: str, max_bytes: int) -> bytes:
    """Decode base64 in either alphabet, with or without padding and line breaks.

    Args:
        what: what the text is, for the error text.
        max_bytes: most bytes of the result; more is refused before it is decoded.

    Raises:
        WrappingError: the text is no base64, or too long.
    """
    if len(text) > text_bytes(max_bytes):
        raise TooLargeError(
            f"{what} is {len(text):,} characters of base64, for {max_bytes:,} bytes"
        )
    text = text.translate(_URL_SAFE, _SPACES).rstrip(b"=")
    size = len(text) * 3 // 4
    if size > max_bytes:
        raise TooLargeError(f"{what} has {size:,} bytes, {max_bytes:,} are allowed")
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        raise WrappingError(f"{what} is no base64") from None
