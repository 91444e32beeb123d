"""What every Kafka client of the project shares: its settings, its log, its error texts."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import typer
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]

from cli.peer import not_kafka

log = logging.getLogger("kafka")

REPEAT_S = 60.0
"""Time between two lines of the same complaint, in seconds: connecting is tried many times a
second."""

C = TypeVar("C")


class KafkaSettingError(Exception):
    """A librdkafka option that does not exist, or that is not the user's to set."""


class Polled(Protocol):
    """A client that calls back while it is polled: a consumer, a producer or an admin client."""

    def poll(self, timeout: float, /) -> object: ...


class ClientLog:
    """Takes what librdkafka says of itself, which it would otherwise print line by line.

    Attributes:
        last: why no broker is reached, for the message of a start that fails.
    """

    def __init__(self) -> None:
        self.last = ""
        self._said: dict[str, float] = {}
        self._connected = False

    def log(self, level: int, message: str, *arguments: object) -> None:
        """A line of librdkafka's own log; `error` says what counts of it."""
        log.debug(message, *arguments, extra={"librdkafka_level": level})

    def error(self, error: KafkaError) -> None:
        """Called within a poll. A program that has connected says it, each kind in its time."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            return
        self.last = error.str().partition(" (after ")[0]
        now = time.monotonic()
        if self._connected and now - self._said.get(error.name(), -REPEAT_S) >= REPEAT_S:
            self._said[error.name()] = now
            typer.echo(f"warning: Kafka: {self.last}", err=True)

    def connected(self) -> None:
        """From now on nobody else would tell of a broker that is lost."""
        self._connected = True
        self.last = ""


def client_config(
    brokers: str,
    client_id: str,
    options: Mapping[str, Any],
    *,
    logger: Any = None,
    on_error: Callable[[KafkaError], None] | None = None,
) -> dict[str, Any]:
    """The settings of a client; `options` (any librdkafka options) override the rest.

    Args:
        logger: has `log(level, message, *arguments)`; None: a `ClientLog`.
        on_error: takes the client's errors; None: the `ClientLog` does.
    """
    kept = ClientLog()
    return {
        "bootstrap.servers": brokers,
        "client.id": client_id,
        "logger": kept if logger is None else logger,
        "error_cb": kept.error if on_error is None else on_error,
        **options,
    }


def option_name(written: str) -> str:
    """An option's own name: librdkafka passes over a prefix that a topic's options may have."""
    own = written.startswith(("topic.metadata.", "topic.blacklist"))
    return written if own else written.removeprefix("topic.")


def check_options(config: Mapping[str, Any]) -> None:
    """Raises KafkaSettingError for text in the place of what a program calls: the client takes
    some of it as it is, and fails when it calls it."""
    for name, value in config.items():
        called = name.endswith("_cb") or name.startswith("on_")
        if (called and not callable(value)) or (name == "logger" and not hasattr(value, "log")):
            raise KafkaSettingError(f"{name} is no option that can be set: leave it out")


def make_client(kind: Callable[[dict[str, Any]], C], config: Mapping[str, Any]) -> C:
    """A client with these settings.

    Raises:
        KafkaSettingError: librdkafka refuses one of them; the text names it.
    """
    check_options(config)
    try:
        return kind(dict(config))
    except (KafkaException, ValueError, TypeError, AttributeError) as error:
        raise KafkaSettingError(f"the Kafka client refuses its settings: {reason(error)}") from None


def connected(config: Mapping[str, Any]) -> None:
    """The client of these settings has reached Kafka: what it says from now on is shown."""
    if isinstance(config.get("logger"), ClientLog):
        config["logger"].connected()


CONNECT_S, REFUSED_S = 10.0, 3.0
"""How long Kafka is waited for by a command: a slow one, and one that says that it is not there."""
FIRST_LOOK_S = 1.0
"""Bound on the first question to Kafka, in seconds; each further one waits twice as long."""


class Asked(Polled, Protocol):
    """A client that says what topics there are."""

    def list_topics(self, topic: str = ..., timeout: float = ...) -> ClusterMetadata: ...


def reach(
    client: Asked, config: Mapping[str, Any], timeout_s: float | None = None, *, topic: str = ""
) -> ClusterMetadata:
    """What Kafka says of its topics: the first question of each command.

    Args:
        config: of the client.
        timeout_s: how long Kafka is waited for, whatever happens; None: `CONNECT_S`, or `REFUSED_S`
            where its addresses refuse the connection.
        topic: the only one to ask for; empty: all.

    Raises:
        KafkaException: no broker answers; `explain` says why.
    """
    begun = time.monotonic()
    wait = FIRST_LOOK_S
    while True:
        limit = CONNECT_S if timeout_s is None else timeout_s
        if timeout_s is None and _complaint(client, config):
            limit = REFUSED_S
        left = begun + limit - time.monotonic()
        try:
            asked = {"topic": topic} if topic else {}
            return client.list_topics(timeout=max(min(wait, left), 0.1), **asked)
        except KafkaException:
            if time.monotonic() >= begun + limit or (timeout_s is None and _stranger(config)):
                raise
        wait *= 2


def _complaint(client: Polled, config: Mapping[str, Any]) -> str:
    client.poll(0)
    kept = config.get("logger")
    return kept.last if isinstance(kept, ClientLog) else ""


def _stranger(config: Mapping[str, Any]) -> str | None:
    """What answers at the first of the addresses, where it is not Kafka."""
    first = str(config.get("bootstrap.servers", "")).partition(",")[0].rpartition("://")[2].strip()
    return not_kafka(first) if ":" in first else None


def explain(client: Polled, config: Mapping[str, Any], error: Exception) -> str:
    """Why a call failed: what the client said of its brokers where it did, else the error."""
    return _complaint(client, config) or _stranger(config) or reason(error)


def reason(error: Exception) -> str:
    """The text of an error of Kafka's client, without its codes."""
    first = error.args[0] if error.args else error
    return str(first.str()) if isinstance(first, KafkaError) else str(error)
