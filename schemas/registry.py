"""A client of a schema registry with Confluent's protocol, and its two kinds of failure."""

import ssl
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from cli.app import install
from schemas.formats import RECORD_NAME, Format, MissingPackageError
from schemas.settings import RegistrySettingError, RegistrySettings

R = TypeVar("R")

SubjectStrategy = Literal["topic", "record", "topic-record"]
MAX_TEXT = 300
"""Most characters of a registry's answer that are shown."""


class RegistryAwayError(Exception):
    """The registry was not reached, or is not well: asking again may help."""


class RegistryRefusedError(Exception):
    """The registry has refused: asking again does not help."""


def subject_of(topic: str, strategy: SubjectStrategy) -> str:
    """The subject under which the schema of a topic's values is registered, by Confluent's
    strategies."""
    if strategy == "record":
        return RECORD_NAME
    return f"{topic}-{RECORD_NAME}" if strategy == "topic-record" else f"{topic}-value"


class Registry:
    """A client that remembers the registry's answers.

    Raises:
        MissingPackageError: Confluent's client is not installed with what it needs.
        RegistrySettingError: the settings cannot work.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        try:
            import httpx2  # noqa: PLC0415 - only where a registry is used
            from confluent_kafka.schema_registry import (  # noqa: PLC0415
                Schema,
                SchemaRegistryClient,
            )
            from confluent_kafka.schema_registry.error import (  # noqa: PLC0415
                OAuthTokenError,
                SchemaRegistryError,
            )
        except ImportError as error:
            raise MissingPackageError(
                f"a schema registry needs {error.name}, which is not installed: "
                f"{install('schemas')}"
            ) from None
        self._schema = Schema
        self._refusals = SchemaRegistryError
        self._away = (httpx2.HTTPError, OAuthTokenError, OSError)
        self.url = settings.url
        try:
            check_options(settings)
            self._client = SchemaRegistryClient(settings.client_config())
        except (ValueError, TypeError, OSError, ssl.SSLError) as error:
            raise RegistrySettingError(
                f"schema_registry: its client refuses the settings: {str(error)[:MAX_TEXT]}"
            ) from None

    def id_of(self, wanted: Format, subject: str, *, register: bool) -> int:
        """The id of a format's schema under a subject.

        Args:
            register: whether to register the schema if it is missing.

        Raises:
            RegistryAwayError: the registry does not answer now.
            RegistryRefusedError: the schema is missing or refused, or access is denied.
        """
        schema = self._schema(wanted.text(), wanted.schema_type)
        if register:
            return self._ask(
                f"register the {wanted.name} schema as {subject!r}",
                lambda: self._client.register_schema(subject, schema),
            )
        found = self._ask(
            f"find the {wanted.name} schema under {subject!r}",
            lambda: self._client.lookup_schema(subject, schema),
        )
        if found.schema_id is None:
            raise RegistryRefusedError(f"schema registry {self.url} gives no id for {subject!r}")
        return int(found.schema_id)

    def writer_text(self, schema_id: int) -> str:
        """The text of the schema with this id.

        Raises:
            RegistryAwayError: the registry does not answer now.
            RegistryRefusedError: there is no such schema, or access is denied.
        """
        found = self._ask(
            f"find the schema with the id {schema_id}", lambda: self._client.get_schema(schema_id)
        )
        return str(found.schema_str)

    def close(self) -> None:
        """Close its connections; no method may be called after this."""
        self._client.close()

    def _ask(self, what: str, ask: Callable[[], R]) -> R:
        try:
            return ask()
        except self._refusals as error:
            said = " ".join(str(error.error_message).split())[:MAX_TEXT]
            text = f"schema registry {self.url}: cannot {what}: {error.http_status_code} {said}"
            if error.http_status_code >= 500 or error.http_status_code in (408, 429):
                raise RegistryAwayError(text) from None
            raise RegistryRefusedError(text + _remedy(error.http_status_code)) from None
        except self._away as error:
            reason = str(error) or type(error).__name__
            raise RegistryAwayError(
                f"schema registry {self.url} is not reached: {reason[:MAX_TEXT]}"
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            # The answer is no JSON, or does not follow this protocol.
            raise RegistryRefusedError(
                f"schema registry {self.url}: cannot {what}: what answers there is no registry "
                "that speaks Confluent's protocol (for Apicurio, the URL ends in /apis/ccompat/v7)"
            ) from None


def check_options(settings: RegistrySettings) -> None:
    """Check the user and the password.

    Raises:
        ValueError: there is a password without a user, or the user has a colon.
    """
    if ":" in settings.user:
        raise ValueError("schema_registry_user has a colon, which basic authentication forbids")
    if settings.password and not settings.user:
        raise ValueError("schema_registry_password without schema_registry_user")


def _remedy(status: int) -> str:
    if status in (401, 403):
        return " (see schema_registry_user and schema_registry_password, and its rights)"
    if status == 409:
        return (
            " (an earlier version there does not fit with it: take another subject with "
            "schema_subject or another topic, or change that subject's compatibility)"
        )
    if status == 404:
        return " (register it first, or let the bridge do so: schema_register; is the URL right?)"
    return ""


def one_id(ids: Sequence[int], subjects: Sequence[str]) -> int:
    """The one id that the schema has under all subjects, since a prediction is written only once.

    Raises:
        RegistryRefusedError: the ids differ.
    """
    if len(set(ids)) != 1:
        raise RegistryRefusedError(
            f"the schema has different ids under {', '.join(subjects)}: {sorted(set(ids))}"
        )
    return ids[0]
