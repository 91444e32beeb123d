"""`tkb topics`: creates the topics that the bridge needs on the user's own Kafka."""

from typing import Annotated

import typer

from cli.app import fail, make_app
from cli.clients import KafkaSettingError, client_config
from cli.options import BROKERS, Brokers, KafkaOptions, kafka_options, topic
from cli.topics import TIMEOUT_S, TopicError, create_topics
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

app = make_app(help="Create the topics that the bridge needs.", no_args_is_help=True)


MAX_HOURS = 1e9
"""More would not fit into the broker's setting, which is in milliseconds."""


def _topics(names: list[str] | None) -> list[str] | None:
    for name in names or ():
        topic(name)
    return names


@app.callback()
def topics() -> None:
    """Create the topics that the bridge needs."""


@app.command()
def create(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOPIC", help="The topics to create.", callback=_topics,
            show_default=f"{IMAGES} {PREDICTIONS} {DEAD_LETTERS}",
        ),
    ] = None,
    *,
    partitions: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="Partitions of each topic.")
    ] = 4,
    replication: Annotated[
        int,
        typer.Option(
            min=-1, max=32767, metavar="N", help="Copies of each partition; -1: the broker's own."
        ),
    ] = -1,
    retention_hours: Annotated[
        float | None,
        typer.Option(
            min=0, max=MAX_HOURS, metavar="HOURS", help="How long records are kept.",
            show_default="the broker's own",
        ),
    ] = None,
    max_message_bytes: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="BYTES",
            help="Largest record: an image, or a dead letter with its image inside.",
            show_default="the broker's own",
        ),
    ] = None,
    brokers: Brokers = BROKERS,
    kafka: KafkaOptions = None,
) -> None:  # fmt: skip
    """Create topics; one that exists is left as it is.

    Exit code: 0 they are there, 1 Kafka refused or cannot be reached, 2 usage.
    """
    wanted = list(names or (IMAGES, PREDICTIONS, DEAD_LETTERS))
    settings = {}
    if retention_hours is not None:
        settings["retention.ms"] = str(int(retention_hours * 3_600_000))
    if max_message_bytes is not None:
        settings["max.message.bytes"] = str(max_message_bytes)
    config = client_config(brokers, "tkb-topics", kafka_options(kafka or ()))
    try:
        done = create_topics(
            config, dict.fromkeys(wanted, partitions), settings, replication, TIMEOUT_S
        )
    except KafkaSettingError as error:
        raise typer.BadParameter(str(error), param_hint="--kafka") from None
    except TopicError as error:
        fail(error)
    for name in done.created:
        typer.echo(f"created {name}: {partitions} partitions")
    for name in done.existed:
        typer.echo(f"{name} exists already and is left as it is")
