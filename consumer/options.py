"""Options that the commands of this package share."""

from collections.abc import Sequence

import typer


def kafka_options(pairs: Sequence[str]) -> dict[str, str]:
    """The librdkafka options in `--kafka KEY=VALUE`; a usage error for what is no such pair."""
    options = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--kafka")
        options[key] = value
    return options
