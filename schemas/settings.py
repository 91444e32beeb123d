"""How a schema registry is reached: the same settings for the bridge and for readers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


class RegistrySettingError(Exception):
    """Settings that no registry can be reached with; the text names them, and no secret."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Attributes:
    url: one, or several with commas: each is tried in its turn.
    user, password: of HTTP's basic authentication; empty: none.
    options: any of Confluent's client, which come last.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def client_config(self) -> dict[str, Any]:
        """As Confluent's client takes it."""
        config: dict[str, Any] = {"url": self.url, "timeout": TIMEOUT_S, "max.retries": 0}
        if self.user or self.password:
            config["basic.auth.user.info"] = f"{self.user}:{self.password}"
        return config | {name: _number(value) for name, value in self.options.items()}


TIMEOUT_S = 5
"""Bound on a request to the registry, in seconds; what waits for a registry asks again."""


def check_url(text: str) -> str:
    """The address of a registry, or several with commas.

    Raises:
        ValueError: it is none, or it has a password in it, which logs and errors would show.
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
    """Flags and the environment know text alone; the client wants numbers for what are numbers."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value
