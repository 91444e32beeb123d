"""List dead letters by reason, and send them again after a fix."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import orjson
import typer
from rich.console import Console
from rich.progress import Progress, TextColumn

from cli.kafka import KafkaOptions, kafka_options
from deadletters.kafka import (
    DeadLetterError,
    Letters,
    Originals,
    Resender,
    group_prefix,
    replays,
)
from deadletters.selection import (
    MAX_NOTE,
    Group,
    Selection,
    is_open,
    moment,
    read_note,
    reason,
)
from wire.deadletter import DeadLetter, decode_dead_letter, is_omitted, restored
from wire.image import MAX_ID, image_id
from wire.record import KafkaRecord, Outgoing
from wire.topics import DEAD_LETTERS

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="List dead letters by reason, and send them again after a fix.",
)

Brokers = Annotated[str, typer.Option(help="Kafka brokers, host:port, comma separated.")]
Topic = Annotated[str, typer.Option(help="Topic of the dead letters.")]
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Only these: STAGE, CLASS or STAGE/CLASS.")
]
Since = Annotated[datetime | None, typer.Option(help="Only those set aside since then (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Only those set aside before then (UTC).")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="Only images with these keys.")]


def _milliseconds(when: datetime | None) -> int | None:
    return None if when is None else int(when.replace(tzinfo=UTC).timestamp() * 1000)


def _selection(
    reasons: list[str] | None, since: datetime | None, until: datetime | None, ids: list[str] | None
) -> Selection:
    return Selection(
        frozenset(reasons or ()), _milliseconds(since), _milliseconds(until), frozenset(ids or ())
    )


@app.command("list")
def list_letters(
    brokers: Brokers = "127.0.0.1:9092",
    topic: Topic = DEAD_LETTERS,
    reasons: Reasons = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    group: Annotated[
        str, typer.Option(help="A group that was given to replay: what it sent is not open.")
    ] = "",
    samples: Annotated[int, typer.Option(min=0, max=100, help="Samples of each reason.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    kafka: KafkaOptions = None,
) -> None:
    """Count the dead letters of each reason, and those not yet sent again ("open").

    Exit code 0 also where there are none.
    """
    selection = _selection(reasons, since, until, ids)
    options = {"bootstrap.servers": brokers, **kafka_options(kafka or ())}
    groups: dict[str, Group] = {}
    names = (group, group_prefix(topic) + selection.digest)
    try:
        done = [
            # Before notes were kept, a group's name alone said what it had taken.
            (read_note(one.note) or (selection if one.note == names[1] else None), one.offsets)
            for one in replays(options, topic, names)
        ]
        sent = [(taken, offsets) for taken, offsets in done if taken is not None]
        with Letters(options, topic, None) as letters:
            for chunk in letters.chunks():
                for record in chunk:
                    letter = decode_dead_letter(record)
                    if selection.takes(record, letter):
                        found = groups.setdefault(reason(letter), Group())
                        found.add(record, letter, samples)
                        found.open += is_open(record, letter, sent)
    except DeadLetterError as error:
        _fail(error)
    if as_json:
        typer.echo(orjson.dumps(groups, option=orjson.OPT_INDENT_2).decode())
        return
    for name, found in sorted(groups.items(), key=lambda pair: -pair[1].count):
        typer.echo(
            f"{found.count:>8,}  {name}  {moment(found.first_ms)} to {moment(found.last_ms)}, "
            f"{found.open:,} open"
        )
        for sample in found.samples:
            typer.echo(f"          {sample}")
    if not groups:
        typer.echo("no dead letters")


@app.command()
def replay(
    brokers: Brokers = "127.0.0.1:9092",
    topic: Topic = DEAD_LETTERS,
    reasons: Reasons = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    to: Annotated[str, typer.Option(help="Topic; empty: where each came from.")] = "",
    group: Annotated[
        str,
        typer.Option(
            help="Consumer group that remembers what was sent again; empty: one for each "
            "selection. A new name starts over."
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, send nothing.")] = False,
    kafka: KafkaOptions = None,
) -> None:
    """Send dead letters again, as they first arrived: same key, id, value and headers.

    Each goes once, however often this is repeated or interrupted. Exit code 1 when some could not
    go: their image was too large for the letter, and its original is gone.
    """
    selection = _selection(reasons, since, until, ids)
    options = {"bootstrap.servers": brokers, **kafka_options(kafka or ())}
    name = group or group_prefix(topic) + selection.digest
    note = selection.note()
    if len(note.encode()) > MAX_NOTE:
        note = ""
    sent = gone = 0
    try:
        resender = None if dry_run else Resender(options, name)
        said = "would be sent" if dry_run else "sent"
        columns = TextColumn(
            f"{{task.completed:,}} letters read, {{task.fields[sent]:,}} {said} again"
        )
        with (
            Originals(options) as originals,
            Letters(options, topic, name) as letters,
            Progress(columns, console=Console(stderr=True)) as progress,
        ):
            task = progress.add_task("replay", total=None, sent=0)
            for chunk in letters.chunks():
                records: list[tuple[str, Outgoing]] = []
                for record in chunk:
                    letter = decode_dead_letter(record)
                    if not selection.takes(record, letter):
                        continue
                    again = _again(record, letter, originals)
                    if again is None:
                        gone += 1
                    else:
                        records.append((to or _origin(letter), again))
                if resender is not None:
                    resender.send(records, chunk, letters.group_metadata(), note)
                sent += len(records)
                progress.update(task, advance=len(chunk), sent=sent)
    except DeadLetterError as error:
        _fail(error)
    typer.echo(f"{sent:,} {said} again, {gone:,} gone")
    if gone:
        raise typer.Exit(1)


def _again(record: KafkaRecord, letter: DeadLetter, originals: Originals) -> Outgoing | None:
    """The message as it first arrived; None, and a line about it, when its image is gone."""
    original = _identified(record, letter)
    if not is_omitted(record):
        return original
    value = originals.value(letter.topic, letter.partition, letter.offset)
    if value is None:
        place = f"{letter.topic}/{letter.partition}/{letter.offset}"
        typer.echo(f"gone: the image at {place}", err=True)
        return None
    return original._replace(value=value)


def _identified(record: KafkaRecord, letter: DeadLetter) -> Outgoing:
    """As it first arrived; what has neither key nor id was known by its place, and stays so."""
    original = restored(record)
    place = f"{letter.topic}/{letter.partition}/{letter.offset}"
    if image_id(record) != place or len(place.encode()) > MAX_ID:
        return original
    return original._replace(headers=[*original.headers, ("ce_id", place.encode())])


def _origin(letter: DeadLetter) -> str:
    if not letter.topic:
        raise DeadLetterError("a letter that does not say where it came from: use --to TOPIC")
    return letter.topic


def _fail(error: DeadLetterError) -> NoReturn:
    typer.echo(f"dead_letters: {error}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
