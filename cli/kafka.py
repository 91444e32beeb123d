"""librdkafka's options on a command line."""

from collections.abc import Sequence
from typing import Annotated

import typer

KafkaOptions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Any librdkafka option, e.g. security.protocol=SSL; may be repeated.",
    ),
]


def kafka_options(pairs: Sequence[str]) -> dict[str, str]:
    """The librdkafka options in `--kafka KEY=VALUE`; a usage error for what is no such pair."""
    options = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--kafka")
        options[key] = value
    return options
