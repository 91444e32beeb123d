"""Options with the same meaning, and so the same name and text, in every command."""

from collections.abc import Sequence
from typing import Annotated

import typer

from cli.clients import CONNECT_S, REFUSED_S
from wire.topics import is_topic_name

KAFKA = "Kafka"
"""The panel of the options of every command that talks to Kafka."""

PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")


def broker_list(text: str) -> str:
    """Check Kafka's addresses.

    Raises:
        ValueError: one is no address; the text says which.
    """
    given = [one for one in map(str.strip, text.split(",")) if one]
    if not given:
        raise ValueError("no address of a broker: HOST:PORT")
    for one in given:
        protocol, separator, address = one.rpartition("://")
        if separator and protocol.lower() not in PROTOCOLS:
            raise ValueError(f"{one!r} is the address of something else: Kafka's is HOST:PORT")
        host, colon, port = address.rpartition(":")
        if not colon or address.endswith("]"):  # then the port is 9092; an IPv6 address has colons
            host, port = address, "9092"
        if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{one!r} is not HOST:PORT")
    return text


def _brokers(text: str) -> str:
    try:
        return broker_list(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Brokers = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT",
        help="Kafka brokers, comma separated.",
        rich_help_panel=KAFKA,
        callback=_brokers,
    ),
]
BROKERS = "127.0.0.1:9092"


def topic(text: str | None) -> str | None:
    """The name of a topic; a usage error where Kafka can have none of this name."""
    if text is not None and not is_topic_name(text):
        raise typer.BadParameter(
            f"{text[:80]!r} is no name of a topic: 1 to 249 of the characters A-Z a-z 0-9 . _ -"
        )
    return text


def topic_names(text: str) -> list[str]:
    """The topics in a comma-separated list."""
    return [name for name in (one.strip() for one in text.split(",")) if name]


def _topics(text: str) -> str:
    names = topic_names(text)
    if not names:
        raise typer.BadParameter("no topic is given for the predictions")
    for name in names:
        topic(name)
    return text


ImagesTopic = Annotated[
    str,
    typer.Option(
        metavar="TOPIC", help="Topic of the images.", rich_help_panel=KAFKA, callback=topic
    ),
]
PredictionsTopic = Annotated[
    str,
    typer.Option(
        metavar="TOPIC",
        help="Topic of the predictions; several with commas, where the bridge has routes.",
        rich_help_panel=KAFKA,
        callback=_topics,
    ),
]
DeadLettersTopic = Annotated[
    str,
    typer.Option(
        metavar="TOPIC",
        help="Topic of the images that can never succeed.",
        rich_help_panel=KAFKA,
        callback=topic,
    ),
]
OldTopic = Annotated[
    str | None,
    typer.Option(
        "--topic", hidden=True, help="The former name of the topic's flag.", callback=topic
    ),
]
ConnectTimeout = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        metavar="SECONDS",
        help="Seconds to reach Kafka and find the topics.",
        show_default=f"{CONNECT_S:.0f}, or {REFUSED_S:.0f} where Kafka's address refuses",
        rich_help_panel=KAFKA,
    ),
]
KafkaOptions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Any librdkafka option, e.g. security.protocol=SSL; may be repeated.",
        rich_help_panel=KAFKA,
    ),
]


def kafka_options(pairs: Sequence[str], flag: str = "--kafka") -> dict[str, str]:
    """The librdkafka options in `--kafka KEY=VALUE`; a usage error where one is no such pair."""
    options = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint=flag)
        options[key] = value
    return options


def require_distinct(topics: Sequence[str]) -> None:
    """Raise a usage error where one topic is named twice."""
    if len(set(topics)) != len(topics):
        raise typer.BadParameter(
            f"images, predictions and dead letters are three topics, not {', '.join(topics)}"
        )


def host_port(text: str) -> str:
    """Check the address of a gRPC server.

    Raises:
        ValueError: it is no such address; the text says why.
    """
    if "://" in text:
        plain = text.partition("://")[2].rstrip("/")
        raise ValueError(
            f"{text!r} is an address with a scheme: give HOST:PORT of Triton's gRPC port, which "
            f"is usually 8001 (HTTP is 8000), for example {plain.partition(':')[0]}:8001"
        )
    host, _, port = text.rpartition(":")
    if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return text
