"""List dead letters by reason, and send them again after a fix."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import Progress, TextColumn

from cli.app import fail, make_app
from cli.clients import KafkaSettingError
from cli.options import (
    BROKERS,
    Brokers,
    DeadLettersTopic,
    KafkaOptions,
    OldTopic,
    kafka_options,
)
from cli.options import topic as check_topic
from cli.terminal import tell
from cli.topics import missing_topics
from deadletters.progress import group_prefix, replays
from deadletters.reading import DeadLetterError, DeadLetters, Originals, make_config
from deadletters.resend import RefusedError, Resender
from deadletters.selection import (
    MAX_NOTE,
    Group,
    Selection,
    clipped,
    is_open,
    moment,
    read_letter,
    read_note,
    reason,
)
from wire.deadletter import DeadLetter, is_omitted, restored
from wire.image import MAX_ID, image_id
from wire.record import Outgoing, StoredRecord
from wire.topics import DEAD_LETTERS

app = make_app(
    no_args_is_help=True, help="List dead letters by reason, and send them again after a fix."
)

INDENT = 10
"""Columns by which the text after a count is indented."""
WHICH = "Which dead letters"
"""A panel of the command's help."""

Reasons = Annotated[
    list[str] | None,
    typer.Option(
        "--reason",
        metavar="REASON",
        help="Only those with this reason: STAGE, CLASS or STAGE/CLASS; may be repeated.",
        rich_help_panel=WHICH,
    ),
]
Since = Annotated[
    datetime | None,
    typer.Option(
        metavar="TIME",
        help="Only those that were written since then (UTC), e.g. 2026-01-31T12:00:00.",
        rich_help_panel=WHICH,
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(
        metavar="TIME",
        help="Only those that were written before then (UTC).",
        rich_help_panel=WHICH,
    ),
]
Ids = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="KEY",
        help="Only images with these keys; may be repeated.",
        rich_help_panel=WHICH,
    ),
]


def _milliseconds(when: datetime | None) -> int | None:
    if when is None:
        return None
    # A time with a zone is that time; one without is UTC.
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def _selection(
    reasons: list[str] | None, since: datetime | None, until: datetime | None, ids: list[str] | None
) -> Selection:
    return Selection(
        frozenset(reasons or ()), _milliseconds(since), _milliseconds(until), frozenset(ids or ())
    )


@app.command("list")
def list_letters(
    *,
    reasons: Reasons = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    group: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A group that was given to replay: what it has sent does not count as open.",
        ),
    ] = "",
    samples: Annotated[
        int, typer.Option(min=0, max=100, metavar="N", help="Samples to show of each reason.")
    ] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    brokers: Brokers = BROKERS,
    dead_letters_topic: DeadLettersTopic = DEAD_LETTERS,
    topic: OldTopic = None,
    kafka: KafkaOptions = None,
) -> None:
    """Count the dead letters of each reason, and those not yet sent again ("open").

    Exit code 0 also where there are none.
    """
    selection = _selection(reasons, since, until, ids)
    dead_letters_topic = topic or dead_letters_topic
    options = kafka_options(kafka or ())
    groups: dict[str, Group] = {}
    names = (group, group_prefix(dead_letters_topic) + selection.digest)
    try:
        config = make_config(brokers, options)
        with DeadLetters(config, dead_letters_topic, None) as letters:
            done = [
                # Older replays kept no note: their group's name alone shows their selection.
                (read_note(one.note) or (selection if one.note == names[1] else None), one.offsets)
                for one in replays(config, dead_letters_topic, names)
            ]
            sent = [(taken, offsets) for taken, offsets in done if taken is not None]
            for chunk in letters.chunks():
                for record in chunk:
                    letter = read_letter(record)
                    if selection.takes(record, letter):
                        found = groups.setdefault(reason(letter), Group())
                        found.add(record, letter, samples)
                        found.open += is_open(record, letter, sent)
    except KafkaSettingError as error:
        raise typer.BadParameter(str(error), param_hint="--kafka") from None
    except DeadLetterError as error:
        fail(error)
    if as_json:
        typer.echo(orjson.dumps(groups, option=orjson.OPT_INDENT_2).decode())
        return
    for name, found in sorted(groups.items(), key=lambda pair: -pair[1].count):
        tell(
            f"{found.count:>8,}  {clipped(name)}  {moment(found.first_ms)} to "
            f"{moment(found.last_ms)}, {found.open:,} open",
            INDENT,
        )
        for sample in found.samples:
            tell(f"{'':{INDENT}}{sample}", INDENT)
    if not groups:
        typer.echo("no dead letters")


@app.command()
def replay(
    *,
    reasons: Reasons = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    to: Annotated[
        str,
        typer.Option(
            metavar="TOPIC",
            help="Topic to send them to; empty: the topic that each came from.",
            callback=lambda name: name and check_topic(name),
        ),
    ] = "",
    group: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Consumer group that remembers what was sent again; empty: one for each "
            "selection. A new name starts over.",
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count them; send nothing.")
    ] = False,
    brokers: Brokers = BROKERS,
    dead_letters_topic: DeadLettersTopic = DEAD_LETTERS,
    topic: OldTopic = None,
    kafka: KafkaOptions = None,
) -> None:
    """Send dead letters again, as they first arrived: same key, id, value and headers.

    Each is sent once, however often this command is repeated or interrupted.

    Exit code: 0 all were sent, 1 some could not be sent, 2 usage. A dead letter cannot be sent if
    it cannot be read, if it does not say where it came from, or if its image was too large for it
    and is no longer on its topic.
    """
    selection = _selection(reasons, since, until, ids)
    dead_letters_topic = topic or dead_letters_topic
    if to == dead_letters_topic:
        raise typer.BadParameter(f"{to} is the topic of the dead letters", param_hint="--to")
    options = kafka_options(kafka or ())
    name = group or group_prefix(dead_letters_topic) + selection.digest
    note = selection.note()
    if len(note.encode()) > MAX_NOTE:
        note = ""
    sent = unsent = 0
    try:
        config = make_config(brokers, options)
        said = "would be sent" if dry_run else "sent"
        columns = TextColumn(
            f"{{task.completed:,}} letters read, {{task.fields[sent]:,}} {said} again"
        )
        with (
            DeadLetters(config, dead_letters_topic, name) as letters,
            Originals(config) as originals,
            Progress(columns, console=Console(stderr=True)) as progress,
        ):
            if to and not originals.has(to):
                fail(missing_topics(brokers, [to]))
            resender = None if dry_run else Resender(config, name)
            task = progress.add_task("replay", total=None, sent=0)
            for chunk in letters.chunks():
                found: list[_Found] = []
                for record in chunk:
                    letter = read_letter(record)
                    again = None
                    if selection.takes(record, letter):
                        goes_to = to or letter.topic
                        again = _again(record, letter, originals, goes_to)
                        unsent += again is None
                    found.append((record, None if again is None else (goes_to, again)))
                refused = 0
                if resender is not None:
                    refused = _send(resender, found, letters.group_metadata(), note)
                unsent += refused
                sent += sum(again is not None for _, again in found) - refused
                progress.update(task, advance=len(chunk), sent=sent)
    except KafkaSettingError as error:
        raise typer.BadParameter(str(error), param_hint="--kafka") from None
    except DeadLetterError as error:
        fail(error)
    typer.echo(f"{sent:,} {said} again, {unsent:,} not")
    if unsent:
        raise typer.Exit(1)


_Found = tuple[StoredRecord, tuple[str, Outgoing] | None]
"""A dead letter, and the topic and the message that are to be sent; None: nothing is."""


def _send(resender: Resender, found: Sequence[_Found], group: Any, note: str) -> int:
    """Send these messages again, except those that Kafka refuses; returns how many it refuses.

    A broker judges the records of one request together, and a transaction fails as a whole: halving
    finds the record that was refused.
    """
    letters = [letter for letter, _ in found]
    try:
        resender.send([one for _, one in found if one is not None], letters, group, note)
    except RefusedError as error:
        if len(found) > 1:
            half = len(found) // 2
            return sum(_send(resender, part, group, note) for part in (found[:half], found[half:]))
        typer.echo(f"skipped: the dead letter at {_where(letters[0])}: {error}", err=True)
        resender.send([], letters, group, note)
        return 1
    return 0


def _where(letter: StoredRecord) -> str:
    """Topic, partition and offset of the dead letter itself."""
    return f"{letter.topic()}/{letter.partition()}/{letter.offset()}"


def _place(letter: DeadLetter) -> str:
    """Topic, partition and offset of the image."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


def _again(
    record: StoredRecord, letter: DeadLetter, originals: Originals, goes_to: str
) -> Outgoing | None:
    """The original message; None, after a line about it, when it cannot be had."""
    problem = None
    if record.unreadable is not None:
        problem = record.unreadable
    elif not goes_to or goes_to == record.topic():
        problem = "it does not say where it came from (--to TOPIC with a new --group sends it)"
    elif not originals.has(goes_to):
        remedy = "create it, or give --to TOPIC, and a new --group"
        problem = f"there is no topic {clipped(goes_to)!r} ({remedy})"
    if problem is not None:
        typer.echo(f"skipped: the dead letter at {_where(record)}: {problem}", err=True)
        return None
    if not is_omitted(record):
        return _identified(record, record, letter)
    original = originals.record(letter.topic, letter.partition, letter.offset)
    if original is None:
        typer.echo(f"gone: the image at {_place(letter)}", err=True)
        return None
    return _identified(original, record, letter)


def _identified(original: StoredRecord, record: StoredRecord, letter: DeadLetter) -> Outgoing:
    """The original message. One without key and id was known by its offset, and keeps that as
    id."""
    again = restored(original)
    place = _place(letter)
    if image_id(record) != place or len(place.encode()) > MAX_ID:
        return again
    return again._replace(headers=[*again.headers, ("ce_id", place.encode())])
