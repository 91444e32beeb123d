"""JSON with the image in a field that a setting names."""

from typing import Any

from wire.wrappings.bounds import MAX_ITEMS, WrappingError, parse_object, text_bytes
from wire.wrappings.text import text_of, unwrap_text


def unwrap_field(value: bytes, field: str, max_bytes: int) -> bytes:
    """The image in a JSON object.

    Args:
        field: the field's name, or a path with dots; a field whose own name has dots comes first.

    Raises:
        WrappingError: there is no such field or no base64 in it, or the image is too large.
    """
    body = parse_object(value, "a JSON object", text_bytes(max_bytes), MAX_ITEMS)
    what = f"field {field} of the JSON"
    return unwrap_text(text_of(_find(body, field), what), max_bytes, what)


def _find(body: dict[str, Any], field: str) -> object:
    if field in body:
        return body[field]
    found: Any = body
    for part in field.split("."):
        if not isinstance(found, dict) or part not in found:
            raise WrappingError(f"its JSON has no field {field} (--image-field)")
        found = found[part]
    return found
