"""Send images to Kafka: `python producer/run.py --help`."""

import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.kafka import KafkaOptions, kafka_options
from producer import sources
from producer.encoding import EncodedImage, Encoding
from producer.listener import Listener, ListenError
from producer.pacing import SECOND, Schedule
from producer.replay import Replay, StopSignal
from producer.sender import Sender, SendError, librdkafka_config
from tracing.start import TracingError, start_tracing, stop_tracing
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from producer.tracing import ProducerTracing

MAX_RUN_ID = 200
"""Characters: an id is the run id and a sequence number, 256 bytes at most by the contract."""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "PRODUCER"},
)


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


def _start_tracing(topic: str) -> "tuple[TracerProvider, ProducerTracing]":
    try:
        provider = start_tracing("image-producer")
    except TracingError as error:
        raise typer.BadParameter(str(error), param_hint="--tracing") from None
    from producer.tracing import ProducerTracing  # noqa: PLC0415 - it imports OpenTelemetry

    return provider, ProducerTracing(provider, topic)


@app.command()
def main(  # one parameter an option: this signature is the command's help
    source: Annotated[Source, typer.Argument(help="Where the images come from.")],
    directory: Annotated[
        Path | None, typer.Argument(help="The folder of images (with 'folder').")
    ] = None,
    *,
    brokers: Annotated[
        str, typer.Option(help="Kafka brokers, host:port, comma separated.")
    ] = "127.0.0.1:9092",
    topic: Annotated[str, typer.Option(help="Topic that images are sent to.")] = IMAGES,
    rate: Annotated[
        float, typer.Option(min=0, help="Images/s, open loop; 0: as fast as Kafka takes them.")
    ] = 100.0,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images to send; the source repeats. Default: each image once, or no limit with "
            "--duration.",
            show_default=False,
        ),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0, help="Seconds to send for.", show_default=False)
    ] = None,
    encoding: Annotated[
        Encoding,
        typer.Option(help="How pixels travel; a folder's files are sent as they are."),
    ] = Encoding.PNG,
    run_id: Annotated[
        str, typer.Option(help="Names this run: image ids are RUN_ID-0, RUN_ID-1, ...")
    ] = "auto",
    listen: Annotated[
        bool, typer.Option("--listen", help="Hear the results of this run and report them.")
    ] = False,
    listen_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds without a new result before giving up.")
    ] = 30.0,
    predictions_topic: Annotated[
        str, typer.Option(help="Topic of the answers (with --listen).")
    ] = PREDICTIONS,
    dead_letters_topic: Annotated[
        str, typer.Option(help="Topic of the images set aside (with --listen).")
    ] = DEAD_LETTERS,
    full: Annotated[
        bool,
        typer.Option("--full", help="cifar10: all 10,000 test images, downloaded by torchvision."),
    ] = False,
    data_dir: Annotated[
        Path, typer.Option(help="cifar10 --full: where the download is kept.")
    ] = Path(".cache/cifar10"),
    distinct: Annotated[
        int, typer.Option(min=1, max=10_000, help="synthetic: number of distinct images.")
    ] = 64,
    size: Annotated[
        int, typer.Option(min=1, max=4096, help="synthetic: width and height in pixels.")
    ] = 224,
    seed: Annotated[int, typer.Option(min=0, help="synthetic: same seed, same images.")] = 0,
    queue_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait while the local queue is full.")
    ] = 60.0,
    flush_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for acknowledgements at the end.")
    ] = 30.0,
    connect_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds to reach Kafka and find the topics.")
    ] = 10.0,
    tracing: Annotated[
        bool,
        typer.Option(
            "--tracing", help="Begin an OpenTelemetry trace with each image; see OTEL_* variables."
        ),
    ] = False,
    kafka: KafkaOptions = None,
) -> None:
    """Send images to Kafka at a chosen rate.

    Exit code: 0 all acknowledged by Kafka (with --listen: and none missing), 1 not, 2 usage.
    """
    if (source is Source.FOLDER) != (directory is not None):
        raise typer.BadParameter("'folder' takes a DIRECTORY, the other sources none")
    if full and source is not Source.CIFAR10:
        raise typer.BadParameter("--full belongs to 'cifar10'")
    options = kafka_options(kafka or ())
    name = _run_id(run_id)
    provider, tracer = _start_tracing(topic) if tracing else (None, None)
    stop = StopSignal()
    stop.install()
    listener: Listener | None = None
    try:
        images: Sequence[EncodedImage]
        if source is Source.FOLDER:
            assert directory is not None
            images = folder = sources.Folder(directory)
            folder.preload(count or len(folder))
            if folder.skipped:
                typer.echo(f"skipped {folder.skipped} files that are not images", err=True)
        elif source is Source.SYNTHETIC:
            images = sources.synthetic(encoding, min(distinct, count or distinct), size, seed)
        elif full:
            images = sources.cifar10_full(encoding, data_dir, limit=count)
        else:
            images = sources.cifar10(encoding, limit=count)
        if count is None and duration is None:
            count = len(images)
        sender = Sender(librdkafka_config(brokers, options), topic, queue_timeout, connect_timeout)
        if listen:
            listener = Listener(
                brokers,
                options,
                predictions_topic,
                dead_letters_topic,
                name,
                labels=sources.labels(images),
                limit=count or 10**12,
                timeout=connect_timeout,
            )
        schedule = Schedule(rate, count, None if duration is None else int(duration * SECOND))
        replay = Replay(
            images, source.value, name, schedule, flush_timeout, listen_timeout, stop,
            tracer,
        )  # fmt: skip
        report = replay.execute(sender, listener)
    except (sources.SourceError, SendError, ListenError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        if listener is not None:
            listener.close()
        stop_tracing(provider)
    for line in report.lines():
        typer.echo(line)
    raise typer.Exit(0 if report.complete else 1)


if __name__ == "__main__":
    app()
