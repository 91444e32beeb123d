"""The options about the schema registry, for commands that read predictions."""

from collections.abc import Sequence
from typing import Annotated

import typer

from cli.options import kafka_options
from schemas.formats import MissingPackageError
from schemas.reading import PredictionReader, make_reader
from schemas.settings import RegistrySettingError, RegistrySettings, check_url

PANEL = "Schema registry (where predictions are Avro)"


def _url(text: str) -> str:
    try:
        return check_url(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


SchemaRegistryUrl = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="Address of a registry with Confluent's protocol; several with commas.",
        callback=_url,
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
SchemaRegistryUser = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="User name for the registry.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
SchemaRegistryPassword = Annotated[
    str,
    typer.Option(
        metavar="PASSWORD",
        help="Password of that user; better given in the environment.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
SchemaRegistryOptions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Any option of Confluent's registry client, e.g. ssl.ca.location=ca.pem; "
        "may be repeated.",
        rich_help_panel=PANEL,
    ),
]


def prediction_reader(
    url: str, user: str, password: str, options: Sequence[str] | None
) -> PredictionReader:
    """The reader of a command's predictions; a usage error for options that cannot work."""
    pairs = kafka_options(options or (), "--schema-registry")

    def warn(text: str) -> None:
        typer.echo(f"warning: {text}", err=True)

    try:
        return make_reader(RegistrySettings(url, user, password, pairs), warn)
    except (MissingPackageError, RegistrySettingError) as error:
        raise typer.BadParameter(str(error), param_hint="--schema-registry-url") from None
