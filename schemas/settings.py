"""How a schema registry is reached: the same settings for the bridge and for readers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


class RegistrySettingError(Exception):
    """Settings with which no registry can be reached; the text names them, but no secret."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Attributes:
    url: one address, or several with commas, which are tried in turn.
    user, password: for HTTP's basic authentication; empty: not used.
    options: any options of Confluent's client, which win over the others.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def client_config(self) -> dict[str, Any]:
        """The options for Confluent's client."""
        config: dict[str, Any] = {"url": self.url, "timeout": TIMEOUT_S, "max.retries": 0}
        if self.user or self.password:
            config["basic.auth.user.info"] = f"{self.user}:{self.password}"
        return config | {name: _number(value) for name, value in self.options.items()}


TIMEOUT_S = 5
"""Bound on a request to the registry, in seconds; callers that wait for a registry ask again."""


def check_url(text: str) -> str:
    """Check the address of a registry, or several with commas.

    Raises:
        ValueError: one is no address, or has a password in it, which logs and errors would show.
    """
    for one in filter(None, text.split(",")):
        parts = urlsplit(one.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not http://HOST:PORT or https://HOST:PORT of a schema registry")
        if parts.username or parts.password:
            raise ValueError(
                "user and password do not belong in the URL: use schema_registry_user and "
                "schema_registry_password"
            )
    return text


def _number(value: Any) -> Any:
    """A number where the text is one: flags and the environment give only text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value
