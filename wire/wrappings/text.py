"""An image as text: base64, or a data URI with base64 in it (RFC 2397)."""

from wire.wrappings.bounds import WrappingError, from_base64

TEXT_TYPES = frozenset(("text/plain", "application/base64"))
"""Content types of values that are text and nothing else."""

_SCHEME = b"data:"
_MAX_HEAD = 256
"""Most bytes of a data URI before its comma."""


def unwrap_text(text: bytes, max_bytes: int, what: str = "the value") -> bytes:
    """The image in base64 or in a data URI; the URI's type is ignored, since the bytes show it.

    Raises:
        WrappingError: the text is neither, or the image is too large.
    """
    text = text.lstrip() if text[:1].isspace() else text
    if text[: len(_SCHEME)].lower() == _SCHEME:
        comma = text.find(b",", 0, _MAX_HEAD)
        if comma < 0:
            raise WrappingError(f"{what} is a data URI without data")
        if not text[:comma].lower().endswith(b";base64"):
            raise WrappingError(f"{what} is a data URI that is not base64")
        text = text[comma + 1 :]
    return from_base64(text, what, max_bytes)


def text_of(found: object, what: str) -> bytes:
    """The bytes of a JSON value that should be a string.

    Raises:
        WrappingError: it is no string.
    """
    if not isinstance(found, str):
        kind = "null" if found is None else type(found).__name__
        raise WrappingError(f"{what} is {kind}, not a string")
    return found.encode()
