"""Measure the latency of a run: `tkb measure`."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.app import fail, make_app
from cli.clients import KafkaSettingError
from cli.options import (
    BROKERS,
    Brokers,
    ConnectTimeout,
    DeadLettersTopic,
    ImagesTopic,
    KafkaOptions,
    PredictionsTopic,
    host_port,
    kafka_options,
    require_distinct,
    topic_names,
)
from cli.progress import LiveLine
from cli.signals import StopSignal
from consumer.files import make_folder, write_atomically
from consumer.measuring import text
from consumer.measuring.circumstances import settings, versions
from consumer.measuring.evaluate import evaluate
from consumer.measuring.live import show
from consumer.measuring.matching import Matcher
from consumer.measuring.measure import Collector, Topics, measure
from consumer.measuring.statistics import measured
from consumer.measuring.table import print_summary
from consumer.measuring.triton import ModelCounters, TritonError, difference, read_counters
from consumer.reader import ReadError, TopicReader, librdkafka_config
from consumer.report import gallery, overlay, plots
from consumer.report.page import write_report
from consumer.report.pictures import fetch_pictures
from schemas.options import (
    SchemaRegistryOptions,
    SchemaRegistryPassword,
    SchemaRegistryUrl,
    SchemaRegistryUser,
    prediction_reader,
)
from tracing.command import traced
from tracing.start import stop_tracing
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from consumer.measuring.tracing import ConsumerTracing

RESULTS, FIGURE = "latency_results.txt", "latency_histogram.png"
REPORT, SUMMARY = "latency_report.html", "latency_summary.json"

MOST = 10**12
"""Most images that can be asked for. JSON would not hold any number."""

app = make_app("CONSUMER")

WHAT, END, RESULT = "What is measured", "When it ends", "Results"
"""The panels of the command's help."""


class StartAt(StrEnum):
    LATEST = "latest"
    EARLIEST = "earliest"


def _counters(address: str | None) -> dict[tuple[str, str], ModelCounters]:
    """Triton's counters; empty if the server gives none: then only one stage cannot be split."""
    if address is None:
        return {}
    try:
        return read_counters(address)
    except TritonError as error:
        typer.echo(f"warning: {error}; its stage will not be split", err=True)
        return {}


def _start_tracing() -> "tuple[TracerProvider, ConsumerTracing]":
    provider = traced("image-consumer")
    from consumer.measuring.tracing import ConsumerTracing  # noqa: PLC0415 - it imports OpenTelemetry

    return provider, ConsumerTracing(provider)


@app.command()
def main(  # each parameter is an option: the signature is the command's help
    context: typer.Context,
    *,
    images: Annotated[
        bool,
        typer.Option(
            help="Read the topic of images, too. Without it, --count says how many were sent.",
            rich_help_panel=WHAT,
        ),
    ] = True,
    run_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Measure only this run. Default: every image on the topics.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST,
            metavar="N",
            help="End once this many images are answered or dead-lettered. Default: by --idle.",
            show_default=False,
            rich_help_panel=END,
        ),
    ] = None,
    idle: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="End after this many seconds without a record.",
            rich_help_panel=END,
        ),
    ] = 10.0,
    start_timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Seconds to wait for the first record.",
            rich_help_panel=END,
        ),
    ] = 120.0,
    start: Annotated[
        StartAt,
        typer.Option(help="Where in the topics to start reading.", rich_help_panel=WHAT),
    ] = StartAt.LATEST,
    warmup: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST,
            metavar="N",
            help="Leave the first N images out of the latency.",
            rich_help_panel=WHAT,
        ),
    ] = 0,
    max_images: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Most images that are kept; each takes about 400 bytes of memory.",
            rich_help_panel=END,
        ),
    ] = 2_000_000,
    allow_backlog: Annotated[
        bool,
        typer.Option(
            "--allow-backlog",
            help="A growing backlog does not make the run invalid (for throughput runs).",
            rich_help_panel=WHAT,
        ),
    ] = False,
    triton: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Triton's gRPC address: the model's statistics then split the stage "
            "triton into queue and compute time.",
            show_default=False,
            parser=host_port,
            rich_help_panel=WHAT,
        ),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option(
            help="Show the slowest and the wrong images in the report; they are read from "
            "their topic again.",
            rich_help_panel=RESULT,
        ),
    ] = True,
    output: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder for the results.", rich_help_panel=RESULT),
    ] = Path("results"),
    ready_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file to create as soon as no image sent from then on can be missed.",
            show_default=False,
            rich_help_panel=RESULT,
        ),
    ] = None,
    brokers: Brokers = BROKERS,
    images_topic: ImagesTopic = IMAGES,
    predictions_topic: PredictionsTopic = PREDICTIONS,
    dead_letters_topic: DeadLettersTopic = DEAD_LETTERS,
    connect_timeout: ConnectTimeout = None,
    kafka: KafkaOptions = None,
    schema_registry_url: SchemaRegistryUrl = "",
    schema_registry_user: SchemaRegistryUser = "",
    schema_registry_password: SchemaRegistryPassword = "",
    schema_registry: SchemaRegistryOptions = None,
    tracing: Annotated[
        bool,
        typer.Option(
            "--tracing", help="End the OpenTelemetry traces of answers; see OTEL_* variables."
        ),
    ] = False,
) -> None:
    """Match predictions to images and measure the latency of each.

    Writes latency_report.html (one file, for any browser), latency_results.txt,
    latency_histogram.png and latency_summary.json (what `tkb compare` reads).

    Exit code: 0 a valid run, 1 an invalid one (it says why) or none at all, 2 usage.
    """
    predictions = topic_names(predictions_topic)
    topics = Topics(images_topic, predictions[0], dead_letters_topic)
    read = [*([topics.images] if images else []), *predictions, topics.dead_letters]
    require_distinct(read)
    config = librdkafka_config(brokers, kafka_options(kafka or ()))
    decode = prediction_reader(
        schema_registry_url, schema_registry_user, schema_registry_password, schema_registry
    )
    matcher = Matcher(max_images, expect_images=images)
    provider, tracer = _start_tracing() if tracing else (None, None)
    collector = Collector(matcher, topics, run_id, tracer, decode)
    stop = StopSignal()
    try:
        make_folder(output)  # not only at the end of a long run
        before = _counters(triton)
        reader = TopicReader(config, read, start.value, connect_timeout)
        stop.install()  # before, nothing was read: a signal ends it at once
        try:
            if ready_file is not None:
                ready_file.touch()
            with LiveLine(waiting="waiting for the first record") as live:
                ended_by = measure(
                    reader,
                    collector,
                    matcher,
                    count=count,
                    idle=idle,
                    start_timeout=start_timeout,
                    stop=stop.once,
                    show=partial(show, live),
                )
        finally:
            reader.close()
            stop_tracing(provider)
        rows = matcher.rows()
        chosen = measured(rows, warmup)
        summary = evaluate(
            matcher,
            rows,
            chosen,
            run_id=run_id,
            ended_by=ended_by,
            expected=count,
            with_images=images,
            warmup=warmup,
            unreadable=collector.unreadable,
            allow_backlog=allow_backlog,
            triton=difference(before, _counters(triton), matcher.models) if before else (),
            settings=settings(context.params),
            versions=versions(triton),
        )
        answers = collector.answers
        places = gallery.places(rows, chosen) | overlay.places(rows, answers) if pictures else ()
        seen = fetch_pictures(config, topics.images, places)
        failed = None
        try:
            write_atomically(output / RESULTS, lambda file: text.write_results(file, rows, summary))
            write_atomically(output / FIGURE, lambda file: plots.draw(file, chosen, summary))
            write_atomically(
                output / REPORT,
                lambda file: write_report(file, rows, chosen, summary, seen, answers),
            )
            # Written last: whoever finds a new summary also finds the other files of the same run.
            write_atomically(output / SUMMARY, lambda file: file.write(summary.to_json()))
        except OSError as error:
            failed = error  # what was measured is printed all the same
    except KafkaSettingError as error:
        raise typer.BadParameter(str(error), param_hint="--kafka") from None
    except (ReadError, OSError) as error:
        fail(error)
    console = Console()
    print_summary(console, summary)
    if failed is not None:
        fail(failed)
    for name in (REPORT, RESULTS, FIGURE, SUMMARY):
        typer.echo(str(output / name))
    raise typer.Exit(0 if summary.valid else 1)
