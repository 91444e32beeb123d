"""Send images to Kafka: `tkb produce`."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.app import fail, make_app
from cli.clients import KafkaSettingError
from cli.options import (
    BROKERS,
    KAFKA,
    Brokers,
    ConnectTimeout,
    DeadLettersTopic,
    ImagesTopic,
    KafkaOptions,
    OldTopic,
    PredictionsTopic,
    kafka_options,
    require_distinct,
    topic_names,
)
from cli.paths import CACHE, CHECKOUT
from cli.signals import StopSignal
from cli.terminal import tell
from producer import sources
from producer.encoding import EncodedImage, Encoding
from producer.listener import Listener, ListenError
from producer.naming import Names, RunNames
from producer.pacing import SECOND, Schedule
from producer.replay import Replay
from producer.report import INDENT
from producer.sender import Sender, SendError, librdkafka_config
from producer.uploading import parse_prefix, upload
from schemas.options import (
    SchemaRegistryOptions,
    SchemaRegistryPassword,
    SchemaRegistryUrl,
    SchemaRegistryUser,
    prediction_reader,
)
from tracing.command import traced
from tracing.start import stop_tracing
from wire.deadletter import one_line
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from producer.tracing import ProducerTracing

MAX_RUN_ID = 200
"""Most characters of a run id. An image's id is the run id and a sequence number, and the contract
allows 256 bytes for it."""

DOWNLOAD = CACHE / "cifar10"

SHOWN = 10
"""Most names of skipped files that are shown; more would hide what matters."""

app = make_app("PRODUCER")

RATE, SOURCES, RESULTS = "How much", "The images", "Results of this run"
"""The panels of the command's help."""


class Source(StrEnum):
    CIFAR10 = "cifar10"
    FOLDER = "folder"
    SYNTHETIC = "synthetic"


def _run_id(text: str) -> str:
    if text == "auto":
        return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    if not (text.isascii() and text.isprintable() and 0 < len(text) <= MAX_RUN_ID):
        raise typer.BadParameter(
            f"1 to {MAX_RUN_ID} printable ASCII characters", param_hint="--run-id"
        )
    return text


def _skipped(names: Sequence[str]) -> str:
    """The line about the files of a folder that are not sent."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return (
        f"skipped, neither by their first bytes nor by their suffix a PNG, JPEG, WebP or BMP: "
        f"{', '.join(map(one_line, names[:SHOWN]))}{more}"
    )


def _start_tracing(topic: str) -> "tuple[TracerProvider, ProducerTracing]":
    provider = traced("image-producer")
    from producer.tracing import ProducerTracing  # noqa: PLC0415 - it imports OpenTelemetry

    return provider, ProducerTracing(provider, topic)


@app.command()
def main(  # each parameter is an option: the signature is the command's help
    source: Annotated[Source, typer.Argument(help="Where the images come from.")],
    directory: Annotated[
        Path | None, typer.Argument(help="The folder of images (with 'folder').")
    ] = None,
    *,
    rate: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="N",
            help="Images/s, open loop; 0: as fast as Kafka takes them.",
            rich_help_panel=RATE,
        ),
    ] = 100.0,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Images to send; the source begins again at its end. Default: each image "
            "once, or no limit with --duration.",
            show_default=False,
            rich_help_panel=RATE,
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Seconds to send for.",
            show_default=False,
            rich_help_panel=RATE,
        ),
    ] = None,
    encoding: Annotated[
        Encoding,
        typer.Option(
            help="How images are encoded; the files of a folder are sent as they are.",
            rich_help_panel=SOURCES,
        ),
    ] = Encoding.PNG,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            help="Put the images into object storage first, such as s3://photos/incoming, and "
            "send only their addresses.",
            show_default=False,
            rich_help_panel=SOURCES,
        ),
    ] = None,
    run_id: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Name of this run. Image ids are ID-0, ID-1, ...; for a folder they "
            "are the paths of the files.",
            rich_help_panel=RESULTS,
        ),
    ] = "auto",
    listen: Annotated[
        bool,
        typer.Option(
            "--listen",
            help="Wait for the results of this run, and report them.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    listen_timeout: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Seconds without a new result before giving up.",
            rich_help_panel=RESULTS,
        ),
    ] = 30.0,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="cifar10: all 10,000 test images, downloaded by torchvision.",
            rich_help_panel=SOURCES,
        ),
    ] = False,
    data_dir: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="cifar10 --full: folder that the download is kept in.",
            show_default=".cache/cifar10" if CHECKOUT else str(DOWNLOAD),
            rich_help_panel=SOURCES,
        ),
    ] = DOWNLOAD,
    distinct: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            metavar="N",
            help="synthetic: number of distinct images.",
            rich_help_panel=SOURCES,
        ),
    ] = 64,
    size: Annotated[
        int,
        typer.Option(
            min=1,
            max=4096,
            metavar="PIXELS",
            help="synthetic: width and height.",
            rich_help_panel=SOURCES,
        ),
    ] = 224,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="synthetic: same seed, same images.",
            rich_help_panel=SOURCES,
        ),
    ] = 0,
    brokers: Brokers = BROKERS,
    images_topic: ImagesTopic = IMAGES,
    topic: OldTopic = None,
    predictions_topic: PredictionsTopic = PREDICTIONS,
    dead_letters_topic: DeadLettersTopic = DEAD_LETTERS,
    connect_timeout: ConnectTimeout = None,
    queue_timeout: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Seconds to wait while the local queue is full.",
            rich_help_panel=KAFKA,
        ),
    ] = 60.0,
    flush_timeout: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Seconds to wait for acknowledgements at the end.",
            rich_help_panel=KAFKA,
        ),
    ] = 30.0,
    kafka: KafkaOptions = None,
    schema_registry_url: SchemaRegistryUrl = "",
    schema_registry_user: SchemaRegistryUser = "",
    schema_registry_password: SchemaRegistryPassword = "",
    schema_registry: SchemaRegistryOptions = None,
    tracing: Annotated[
        bool,
        typer.Option(
            "--tracing", help="Begin an OpenTelemetry trace with each image; see OTEL_* variables."
        ),
    ] = False,
) -> None:
    """Send images to Kafka at a chosen rate.

    Exit code: 0 all acknowledged by Kafka (with --listen: and none missing), 1 not, 2 usage.
    """
    if (source is Source.FOLDER) != (directory is not None):
        raise typer.BadParameter("'folder' takes a DIRECTORY, the other sources none")
    if directory is not None and not directory.is_dir():
        raise typer.BadParameter(f"{directory} is not a folder", param_hint="DIRECTORY")
    if full and source is not Source.CIFAR10:
        raise typer.BadParameter("--full belongs to 'cifar10'")
    images_topic = topic or images_topic
    predictions = topic_names(predictions_topic)
    require_distinct((images_topic, *predictions, dead_letters_topic))
    options = kafka_options(kafka or ())
    decode = prediction_reader(
        schema_registry_url, schema_registry_user, schema_registry_password, schema_registry
    )
    try:
        prefix = None if reference is None else parse_prefix(reference)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--reference") from None
    name = _run_id(run_id)
    provider, tracer = _start_tracing(images_topic) if tracing else (None, None)
    stop = StopSignal()
    listener: Listener | None = None
    names: Names = RunNames(name)
    try:
        images: Sequence[EncodedImage]
        if source is Source.FOLDER:
            assert directory is not None
            images = folder = sources.Folder(directory)
            names = folder.names()
            folder.preload(count or len(folder))
            if folder.skipped:
                typer.echo(_skipped(folder.skipped), err=True)
        elif source is Source.SYNTHETIC:
            images = sources.synthetic(encoding, min(distinct, count or distinct), size, seed)
        elif full:
            images = sources.cifar10_full(encoding, data_dir, limit=count)
        else:
            images = sources.cifar10(encoding, limit=count)
        if count is None and duration is None:
            count = len(images)
        labels = sources.labels(images)
        if prefix is not None:
            images = upload(images, prefix, name, min(len(images), count or len(images)))
        config = librdkafka_config(brokers, options)
        sender = Sender(config, images_topic, queue_timeout, connect_timeout)
        if listen:
            listener = Listener(
                brokers,
                options,
                predictions,
                dead_letters_topic,
                name,
                names,
                labels=labels,
                limit=count or 10**12,
                timeout=connect_timeout,
                decode=decode,
            )
        stop.install()  # before, nothing was sent: a signal ends it at once
        schedule = Schedule(rate, count, None if duration is None else duration * SECOND)
        replay = Replay(
            images, source.value, name, schedule, flush_timeout, listen_timeout, stop,
            names, tracer,
        )  # fmt: skip
        report = replay.execute(sender, listener)
    except KafkaSettingError as error:
        raise typer.BadParameter(str(error), param_hint="--kafka") from None
    except (sources.SourceError, SendError, ListenError) as error:
        fail(error)
    finally:
        if listener is not None:
            listener.close()
        stop_tracing(provider)
    for line in report.lines():
        tell(line, INDENT)
    raise typer.Exit(0 if report.complete else 1)
