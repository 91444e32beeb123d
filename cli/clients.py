"""What all Kafka clients of the project share: settings, log and error texts."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import typer
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]

from cli.peer import not_kafka
from cli.signals import interruptible

log = logging.getLogger("kafka")

REPEAT_S = 60.0
"""Time between two lines of the same complaint, in seconds: a client tries to connect many times a
second."""

C = TypeVar("C")


class KafkaSettingError(Exception):
    """A librdkafka option that does not exist, or that the user must not set."""


class Polled(Protocol):
    """A client that calls back while it is polled: a consumer, a producer or an admin client."""

    def poll(self, timeout: float, /) -> object: ...


class ClientLog:
    """Takes librdkafka's own log lines, which would otherwise be printed.

    Attributes:
        last: why no broker is reached, for the message of a failed start.
    """

    def __init__(self) -> None:
        self.last = ""
        self._said: dict[str, float] = {}
        self._connected = False

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Log a line of librdkafka's own log at debug level; `error` reports what matters."""
        log.debug(message, *arguments, extra={"librdkafka_level": level})

    def error(self, error: KafkaError) -> None:
        """Called within a poll. Once connected, each kind of error is shown, at most once
        in `REPEAT_S`."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            return
        self.last = error.str().partition(" (after ")[0]
        now = time.monotonic()
        if self._connected and now - self._said.get(error.name(), -REPEAT_S) >= REPEAT_S:
            self._said[error.name()] = now
            typer.echo(f"warning: Kafka: {self.last}", err=True)

    def connected(self) -> None:
        """Show errors from now on, as nothing else would report that a broker is lost."""
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
    """The settings of a client; `options` (any librdkafka options) override all others.

    Args:
        logger: has `log(level, message, *arguments)`; None: a `ClientLog`.
        on_error: called with the client's errors; None: the `ClientLog` does.
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
    """An option's own name: librdkafka ignores a prefix that a topic's options may have."""
    own = written.startswith(("topic.metadata.", "topic.blacklist"))
    return written if own else written.removeprefix("topic.")


def check_options(config: Mapping[str, Any]) -> None:
    """Refuse a text where the client expects a function: it accepts some, and fails at the call.

    Raises:
        KafkaSettingError: an option is such a text.
    """
    for name, value in config.items():
        called = name.endswith("_cb") or name.startswith("on_")
        if (called and not callable(value)) or (name == "logger" and not hasattr(value, "log")):
            raise KafkaSettingError(f"{name} is no option that can be set: leave it out")


def make_client(kind: Callable[[dict[str, Any]], C], config: Mapping[str, Any]) -> C:
    """Make a client with these settings.

    Raises:
        KafkaSettingError: librdkafka refuses one of them; the text names it.
    """
    check_options(config)
    try:
        return kind(dict(config))
    except (KafkaException, ValueError, TypeError, AttributeError) as error:
        raise KafkaSettingError(f"the Kafka client refuses its settings: {reason(error)}") from None


def connected(config: Mapping[str, Any]) -> None:
    """Note that the client of these settings has reached Kafka: its errors are shown from now
    on."""
    if isinstance(config.get("logger"), ClientLog):
        config["logger"].connected()


CONNECT_S, REFUSED_S = 10.0, 3.0
"""Seconds for which a command waits for a slow Kafka, and for one whose addresses refuse."""
FIRST_LOOK_S = 1.0
"""Bound on the first question to Kafka, in seconds; each further question waits twice as long."""


class Asked(Polled, Protocol):
    """A client that can list topics."""

    def list_topics(self, topic: str = ..., timeout: float = ...) -> ClusterMetadata: ...


def reach(
    client: Asked, config: Mapping[str, Any], timeout_s: float | None = None, *, topic: str = ""
) -> ClusterMetadata:
    """Kafka's metadata of its topics; the first question of each command.

    Args:
        config: the client's options.
        timeout_s: seconds to wait for Kafka in any case; None: `CONNECT_S`, or `REFUSED_S` where
            its addresses refuse the connection.
        topic: the only topic to ask for; empty: all topics.

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
            with interruptible():
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
    """The kind of server that answers at the first address, if it is not Kafka."""
    first = str(config.get("bootstrap.servers", "")).partition(",")[0].rpartition("://")[2].strip()
    return not_kafka(first) if ":" in first else None


def explain(client: Polled, config: Mapping[str, Any], error: Exception) -> str:
    """Why a call failed: the client's complaint about its brokers if there is one, else the
    error."""
    said = told(_complaint(client, config), config)
    return said or _stranger(config) or reason(error)


def told(complaint: str, config: Mapping[str, Any]) -> str:
    """A client's complaint; where it comes from another server than Kafka, what that one is."""
    # The client takes any answer for Kafka's, and "HTTP" for the size of a large one.
    foreign = _stranger(config) if "Invalid response size" in complaint else None
    return complaint if foreign is None else foreign


def reason(error: Exception) -> str:
    """The text of an error of Kafka's client, without its codes."""
    first = error.args[0] if error.args else error
    return str(first.str()) if isinstance(first, KafkaError) else str(error)
