"""Watch images and their predictions as they come: `tkb watch`."""

import ipaddress
import logging
import signal
import socket
import sys
from types import FrameType
from typing import Annotated

import typer

from cli.app import fail, make_app
from cli.clients import KafkaSettingError
from cli.options import (
    BROKERS,
    Brokers,
    DeadLettersTopic,
    ImagesTopic,
    KafkaOptions,
    PredictionsTopic,
    kafka_options,
    require_distinct,
    topic_names,
)
from consumer.liveview.feed import Feed
from consumer.liveview.objects import make_objects
from consumer.liveview.recent import MAX_PICTURE
from consumer.liveview.view import View
from consumer.liveview.web import make_server
from consumer.measuring.measure import Topics
from schemas.options import (
    SchemaRegistryOptions,
    SchemaRegistryPassword,
    SchemaRegistryUrl,
    SchemaRegistryUser,
    prediction_reader,
)
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

app = make_app("LIVEVIEW")

PAGE = "The page"
"""A panel of the command's help."""


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens at this address.

    Raises:
        OSError: it cannot listen there; the text says why.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@app.command()
def main(
    *,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; whoever reaches it sees the images.",
            rich_help_panel=PAGE,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="PORT", help="0: any free one.", rich_help_panel=PAGE
        ),
    ] = 8090,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name, beside localhost and --host, that browsers may ask for; may be repeated.",
            rich_help_panel=PAGE,
        ),
    ] = None,
    reference_allow: Annotated[
        str,
        typer.Option(
            metavar="PREFIX,...",
            help="Prefixes of object storage that images may be fetched from, such as "
            "s3://photos/incoming/; as the bridge's.",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = "",
    reference_field: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help="Field of a JSON message that holds its image's URL; as the bridge's.",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = "",
    brokers: Brokers = BROKERS,
    images_topic: ImagesTopic = IMAGES,
    predictions_topic: PredictionsTopic = PREDICTIONS,
    dead_letters_topic: DeadLettersTopic = DEAD_LETTERS,
    kafka: KafkaOptions = None,
    schema_registry_url: SchemaRegistryUrl = "",
    schema_registry_user: SchemaRegistryUser = "",
    schema_registry_password: SchemaRegistryPassword = "",
    schema_registry: SchemaRegistryOptions = None,
) -> None:
    """Show images, their predictions and their latency on a local page, as they come.

    It reads beside all others: it joins no group and commits nothing. Ctrl-C or SIGTERM stops it.

    Exit code: 0 stopped, 1 it cannot listen, 2 usage.
    """
    predictions = topic_names(predictions_topic)
    topics = Topics(images_topic, predictions[0], dead_letters_topic)
    read = (topics.images, *predictions, topics.dead_letters)
    require_distinct(read)
    decode = prediction_reader(
        schema_registry_url, schema_registry_user, schema_registry_password, schema_registry
    )
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("liveview").setLevel(logging.INFO)
    # Its warnings are about what others send: each that is no HTTP, such as Kafka's own requests
    # where --brokers is the address of this page.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    view = View(
        f"{brokers} · {topics.images} → {predictions_topic}", topics, reference_field, decode=decode
    )
    try:
        objects = make_objects(reference_allow, MAX_PICTURE)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--reference-allow") from None
    try:
        feed = Feed(brokers, kafka_options(kafka or ()), read, view)
        listener = _listen(host, port)
    except KafkaSettingError as error:
        raise typer.BadParameter(str(error), param_hint="--kafka") from None
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror or error}")
    name = f"[{host}]" if ":" in host else host
    server = make_server(view, [*LOOPBACK, name, *(allow_host or ())], objects)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn has its own handlers while it runs, and afterwards repeats the signal for these.
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    feed.start()
    typer.echo(f"live view: http://{name}:{listener.getsockname()[1]}/")
    if not _is_loopback(host):
        typer.echo(f"warning: whoever reaches {host} sees the images; there is no login", err=True)
    try:
        server.run(sockets=[listener])
    finally:
        feed.stop()
