"""Print what was found in each image: `tkb read`."""

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TextIO

import typer

from cli.app import FAILED, fail, make_app
from cli.clients import KafkaSettingError
from cli.options import (
    BROKERS,
    Brokers,
    ConnectTimeout,
    DeadLettersTopic,
    KafkaOptions,
    PredictionsTopic,
    kafka_options,
    require_distinct,
    topic_names,
)
from cli.signals import StopSignal
from consumer.reader import ReadError, TopicReader, librdkafka_config
from consumer.reading.lines import Format, found_in, header, line_of
from schemas.options import (
    SchemaRegistryOptions,
    SchemaRegistryPassword,
    SchemaRegistryUrl,
    SchemaRegistryUser,
    prediction_reader,
)
from wire.record import first_headers
from wire.topics import DEAD_LETTERS, PREDICTIONS

POLL_SECONDS = 0.1

app = make_app("READER")


@app.command()
def main(
    *,
    run_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Print only the images of this run.", show_default=False),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="End after N images, and wait for them.", show_default=False
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new images until Ctrl-C.")
    ] = False,
    form: Annotated[
        Format,
        typer.Option(
            "--format", envvar="READER_FORMAT", help="csv and json are for other programs."
        ),
    ] = Format.TEXT,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write to this file, and not to the terminal.", show_default=False
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="With --count: give up after this many seconds without a new image.",
        ),
    ] = 30.0,
    brokers: Brokers = BROKERS,
    predictions_topic: PredictionsTopic = PREDICTIONS,
    dead_letters_topic: DeadLettersTopic = DEAD_LETTERS,
    connect_timeout: ConnectTimeout = None,
    kafka: KafkaOptions = None,
    schema_registry_url: SchemaRegistryUrl = "",
    schema_registry_user: SchemaRegistryUser = "",
    schema_registry_password: SchemaRegistryPassword = "",
    schema_registry: SchemaRegistryOptions = None,
) -> None:
    """Print what was found in each image: id, label and score, or a line for each object.

    Reads what is on the topics, from their beginning, and ends there.

    Exit code: 0 read, 1 Kafka cannot be read, or fewer than --count came, 2 usage.
    """
    predictions = topic_names(predictions_topic)
    require_distinct([*predictions, dead_letters_topic])
    options = kafka_options(kafka or ())
    config = {**librdkafka_config(brokers, options), "enable.partition.eof": True}
    decode = prediction_reader(
        schema_registry_url, schema_registry_user, schema_registry_password, schema_registry
    )
    stop = StopSignal()
    images = 0
    try:
        with ExitStack() as open_files:
            open_files.callback(decode.close)
            reader = TopicReader(
                config, [*predictions, dead_letters_topic], "earliest", connect_timeout
            )
            stop.install()
            open_files.callback(reader.close)
            file: TextIO = sys.stdout
            if output is not None:
                file = open_files.enter_context(output.open("w", encoding="utf-8"))
            if (first := header(form)) is not None:
                print(first, file=file)
            colours = form is Format.TEXT and file.isatty() and not os.environ.get("NO_COLOR")
            paint = _red if colours else str
            last = time.monotonic()
            while not stop.once() and (count is None or images < count):
                received = reader.poll(POLL_SECONDS)
                if received is None:
                    quiet = time.monotonic() - last
                    if not follow and reader.at_end and (count is None or quiet >= timeout):
                        break
                    file.flush()
                    continue
                record = received.record
                if run_id is not None:
                    told = first_headers(record.headers()).get("ce_runid", b"")
                    if told != run_id.encode():
                        continue
                last = time.monotonic()
                images += 1
                dead_letter = record.topic() == dead_letters_topic
                for found in found_in(record, dead_letter=dead_letter, decode=decode):
                    print(line_of(found, form, paint), file=file)
            file.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough; otherwise Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KafkaSettingError as error:
        raise typer.BadParameter(str(error), param_hint="--kafka") from None
    except ReadError as error:
        fail(error)
    except OSError as error:
        fail(f"cannot write {output or 'the output'}: {error.strerror}")
    if count is not None and images < count and not stop.once():
        typer.echo(f"error: {images:,} of {count:,} images came in time", err=True)
        raise typer.Exit(FAILED)


def _red(text: str) -> str:
    return typer.style(text, fg=typer.colors.RED)
