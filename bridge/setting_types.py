"""Types of settings that check more than the type: each refuses values that cannot be meant."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from bridge.routing import HEADER, LABEL
from bridge.triton.addresses import parse_targets
from storage.allowed import parse_allow_list
from wire.passing import PassedHeaders, read_patterns


def _triton(text: str) -> str:
    parse_targets(text)
    return text


def _passed(text: str) -> str:
    PassedHeaders(read_patterns(text))
    return text


def _allow_list(text: str) -> str:
    parse_allow_list(text)
    return text


def _route_by(text: str) -> str:
    if text != LABEL and not text.startswith(HEADER):
        raise ValueError(f"{text[:80]!r} is neither {LABEL} nor {HEADER}NAME")
    if text == HEADER:
        raise ValueError(f"{HEADER} needs the header's name")
    return text


def _flat(value: object) -> object:
    """Parameters by their full names, as text. TOML reads the name a.b as a table a with a key b; a
    list becomes one line for each item."""
    if not isinstance(value, Mapping):
        return value
    flat: dict[str, object] = {}
    for name, one in value.items():
        if isinstance(one, Mapping):
            flat |= {f"{name}.{rest}": inner for rest, inner in one.items()}
    # Flags give whole names, and win over the file's tables.
    flat |= {str(name): one for name, one in value.items() if not isinstance(one, Mapping)}
    return {
        name: "\n".join(map(str, one)) if isinstance(one, list) else str(one)
        for name, one in flat.items()
    }


TritonAddresses = Annotated[str, AfterValidator(_triton)]
HeaderPatterns = Annotated[str, AfterValidator(_passed)]
ReferencePrefixes = Annotated[str, AfterValidator(_allow_list)]
RouteBy = Annotated[str, AfterValidator(_route_by)]
ModelParameters = Annotated[dict[str, str], BeforeValidator(_flat)]
