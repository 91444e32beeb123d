"""Measure the latency of a run: `python consumer/run.py --help`."""

import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import signal
from enum import StrEnum
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.kafka import KafkaOptions, kafka_options
from consumer.files import write_atomically
from consumer.measuring import text
from consumer.measuring.circumstances import settings, versions
from consumer.measuring.evaluate import evaluate
from consumer.measuring.live import LiveLine
from consumer.measuring.matching import Matcher
from consumer.measuring.measure import Collector, Topics, measure
from consumer.measuring.statistics import measured
from consumer.measuring.table import print_summary
from consumer.measuring.triton import ModelCounters, TritonError, difference, read_counters
from consumer.options import require_distinct
from consumer.reader import Reader, ReadError, librdkafka_config
from consumer.report import gallery, plots
from consumer.report.page import write_report
from consumer.report.pictures import fetch_pictures
from tracing.start import TracingError, start_tracing, stop_tracing
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from consumer.measuring.tracing import ConsumerTracing

RESULTS, FIGURE = "latency_results.txt", "latency_histogram.png"
REPORT, SUMMARY = "latency_report.html", "latency_summary.json"

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "CONSUMER"},
)


class StartAt(StrEnum):
    LATEST = "latest"
    EARLIEST = "earliest"


class StopSignal:
    """SIGINT or SIGTERM ends the measurement; its results are written all the same."""

    def __init__(self) -> None:
        self.received = False
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True

    def __call__(self) -> bool:
        return self.received


def _counters(address: str | None) -> dict[tuple[str, str], ModelCounters]:
    """Triton's counters; a server that gives none costs the split of one stage, not the run."""
    if address is None:
        return {}
    try:
        return read_counters(address)
    except TritonError as error:
        typer.echo(f"warning: {error}; its stage will not be split", err=True)
        return {}


def _start_tracing() -> "tuple[TracerProvider, ConsumerTracing]":
    try:
        provider = start_tracing("image-consumer")
    except TracingError as error:
        raise typer.BadParameter(str(error), param_hint="--tracing") from None
    from consumer.measuring.tracing import ConsumerTracing  # noqa: PLC0415 - it imports OpenTelemetry

    return provider, ConsumerTracing(provider)


@app.command()
def main(  # one parameter an option: this signature is the command's help
    context: typer.Context,
    *,
    brokers: Annotated[
        str, typer.Option(help="Kafka brokers, host:port, comma separated.")
    ] = "127.0.0.1:9092",
    images_topic: Annotated[
        str, typer.Option(help="Topic of the images: what was sent is read there.")
    ] = IMAGES,
    predictions_topic: Annotated[str, typer.Option(help="Topic of the answers.")] = PREDICTIONS,
    dead_letters_topic: Annotated[
        str, typer.Option(help="Topic of the images set aside.")
    ] = DEAD_LETTERS,
    images: Annotated[
        bool,
        typer.Option(help="--no-images: don't read the images; --count says how many were sent."),
    ] = True,
    run_id: Annotated[
        str | None,
        typer.Option(help="Measure this run only. Default: all there is.", show_default=False),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="End once this many images are answered or dead-lettered. Default: by --idle.",
            show_default=False,
        ),
    ] = None,
    idle: Annotated[
        float, typer.Option(min=0.1, help="End after this many seconds without a record.")
    ] = 10.0,
    start_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds to wait for the first record.")
    ] = 120.0,
    start: Annotated[
        StartAt, typer.Option(help="Where in the topics to start reading.")
    ] = StartAt.LATEST,
    warmup: Annotated[
        int, typer.Option(min=0, help="Leave the first N images out of the latency.")
    ] = 0,
    max_images: Annotated[
        int,
        typer.Option(min=1, help="Bound on the memory, about 400 bytes an image."),
    ] = 2_000_000,
    allow_backlog: Annotated[
        bool,
        typer.Option("--allow-backlog", help="A growing backlog is no fault (throughput runs)."),
    ] = False,
    triton: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Triton's gRPC address: splits its stage by the model's own statistics.",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option(
            help="Show the slowest and the wrong images in the report, read from their topic again."
        ),
    ] = True,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("results"),
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="Touched once nothing sent from then on can be missed.", show_default=False
        ),
    ] = None,
    connect_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds to reach Kafka and find the topics.")
    ] = 10.0,
    tracing: Annotated[
        bool,
        typer.Option(
            "--tracing", help="End the OpenTelemetry traces of answers; see OTEL_* variables."
        ),
    ] = False,
    kafka: KafkaOptions = None,
) -> None:
    """Match predictions to images and measure the latency of each.

    Writes latency_report.html (one file, for any browser), latency_results.txt,
    latency_histogram.png and latency_summary.json (what consumer/compare.py reads).

    Exit code: 0 a valid run, 1 an invalid one (it says why) or none at all, 2 usage.
    """
    topics = Topics(images_topic, predictions_topic, dead_letters_topic)
    read = [*([topics.images] if images else []), topics.predictions, topics.dead_letters]
    require_distinct(read)
    config = librdkafka_config(brokers, kafka_options(kafka or ()))
    matcher = Matcher(max_images, expect_images=images)
    provider, tracer = _start_tracing() if tracing else (None, None)
    collector = Collector(matcher, topics, run_id, tracer)
    stop = StopSignal()
    try:
        output.mkdir(parents=True, exist_ok=True)
        before = _counters(triton)
        reader = Reader(config, read, start.value, connect_timeout)
        try:
            if ready_file is not None:
                ready_file.touch()
            with LiveLine() as live:
                ended_by = measure(
                    reader,
                    collector,
                    matcher,
                    count=count,
                    idle=idle,
                    start_timeout=start_timeout,
                    stop=stop,
                    show=live.show,
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
        places = gallery.places(rows, chosen) if pictures else ()
        seen = fetch_pictures(config, topics.images, places)
        write_atomically(output / RESULTS, lambda file: text.write_results(file, rows, summary))
        write_atomically(output / FIGURE, lambda file: plots.draw(file, rows, chosen, summary))
        write_atomically(
            output / REPORT, lambda file: write_report(file, rows, chosen, summary, seen)
        )
        # Last: whoever finds a new summary finds the other files of the same run.
        write_atomically(output / SUMMARY, lambda file: file.write(summary.to_json()))
    except (ReadError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    console = Console()
    print_summary(console, summary)
    for name in (REPORT, RESULTS, FIGURE, SUMMARY):
        typer.echo(str(output / name))
    raise typer.Exit(0 if summary.valid else 1)


if __name__ == "__main__":
    app()
