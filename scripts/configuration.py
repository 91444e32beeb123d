"""Writes docs/configuration.md: every setting and flag, from the code that reads them."""

import enum
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bridge.config import Settings
from cli.commands import load

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

HEAD = """\
# Configuration

<!-- Written by scripts/configuration.py from the programs: change those, not this page. -->

One program, `tkb`, has all commands: `tkb --help` lists them, each explains itself with `--help`,
and this is all of it on one page. `pip install .` puts it on the path, and `tkb
--install-completion` lets the shell complete its commands and flags; in a checkout that is not
installed, `python cli` is the same program. What a message may look like is in
[messages.md](messages.md), what a model tells the bridge in
[bring-your-own-model.md](bring-your-own-model.md#what-else-a-model-can-be). What Docker Compose
reads is in [`.env.example`](../.env.example), the `OTEL_*` variables in [tracing.md](tracing.md).

## Bridge

`tkb bridge`; in a checkout that is not installed, `python bridge/run.py`. Each setting has three
names: the flag, the environment variable, and a key of a TOML file named by `--config` (the flag's
name with underscores). A flag wins over the environment, which wins over the file. These are the
same:

```console
$ tkb bridge --max-inflight 4 --kafka security.protocol=SSL
$ BRIDGE_MAX_INFLIGHT=4 BRIDGE_KAFKA='{"security.protocol": "SSL"}' tkb bridge
$ tkb bridge --config bridge.toml
```

```toml
max_inflight = 4

[kafka]
"security.protocol" = "SSL"
```

A setting that is unknown or out of bounds is named, and the bridge ends with exit code 2; so does a
variable `BRIDGE_*` that is no setting. Times end in `_s` and are seconds.

"""

KAFKA_OPTIONS = """
### Options of Kafka's client

`--kafka`, `--kafka-consumer` and `--kafka-producer` take any option of librdkafka, but those that
would undo what the bridge promises are refused, with exit code 2:

- `acks` (`request.required.acks`) other than `all`, `enable.idempotence` other than `true`: an
  answer could be lost, or doubled, after its image was committed;
- `retries` (`message.send.max.retries`) and `message.timeout.ms` (`delivery.timeout.ms`): a broker
  that is away is waited for, as long as it takes;
- `delivery.report.only.error`: an offset is committed when its answer is acknowledged;
- `isolation.level` other than `read_committed`, with `--delivery exactly-once`: images of
  transactions that were aborted would be answered;
- `auto.offset.reset=latest`: images would be passed over wherever the group has no offset, on a new
  partition for one; `--start latest` begins once at the end;
- `enable.auto.commit` (`auto.commit.enable`), `enable.auto.offset.store`, `enable.partition.eof`:
  the bridge decides when an offset is committed, and asks where a partition ends;
- `test.mock.num.brokers` and `enabled_events`: the client would use brokers of its own, or not tell
  what became of an answer;
- `bootstrap.servers` (`metadata.broker.list`), `group.id`, `transactional.id` and
  `transaction.timeout.ms` are the settings `--brokers`, `--group`, `--transactional-id` and
  `--transaction-timeout-s`.

So are they with the prefix `topic.`, which librdkafka passes over.

`auto.offset.reset=error` ends the bridge with exit code 2 when Kafka has no record where it is to
read on. `group.protocol=consumer` (KIP-848, Kafka 4.0 and newer) is supported in both delivery
modes: the broker assigns the partitions and sets the session's times, so
`partition.assignment.strategy`, `session.timeout.ms` and `heartbeat.interval.ms` must be left out.
All bridges of a group use one protocol; Kafka takes a group over from one to the other while its
bridges are restarted one by one.
"""


NOT_SETTINGS = ("help", "install_completion", "show_completion")


class Command(NamedTuple):
    """A command whose flags are typer's.

    Attributes:
        prefix: of its environment variables; empty where it has none.
        file: what runs it in a checkout that is not installed.
    """

    title: str
    name: str
    file: str = ""
    prefix: str = ""


COMMANDS = (
    Command("Producer", "produce", "producer/run.py", "PRODUCER"),
    Command("Consumer", "measure", "consumer/run.py", "CONSUMER"),
    Command("Reading predictions", "read", prefix="READER"),
    Command("Comparison of two runs", "compare", "consumer/compare.py"),
    Command("Live view", "watch", "consumer/liveview/run.py", "LIVEVIEW"),
    Command("Exporter", "export", "scripts/export_model.py"),
    Command("Dead letters", "dead-letters", "scripts/dead_letters.py"),
    Command("Topics", "topics"),
    Command("Local stack", "stack", "-m stack"),
    Command("Demo", "demo", "scripts/demo.py"),
)


def bridge_table() -> str:
    """One row a setting of the bridge."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, SecretStr) or default is PydanticUndefined:
            default = None
        flag = f"`--{name.replace('_', '-')}`"
        rows.append((flag, f"`BRIDGE_{name.upper()}`", _shown(default), _bridge_meaning(field)))
    return _table(("flag", "environment", "default", "meaning"), rows)


def _bridge_meaning(field: FieldInfo) -> str:
    meaning = field.description or ""
    if get_origin(field.annotation) is Literal:
        return f"{meaning} ({', '.join(f'`{one}`' for one in get_args(field.annotation))})"
    low = high = None
    above = ""
    for bound in field.metadata:
        low = getattr(bound, "ge", low)
        high = getattr(bound, "le", high)
        if (gt := getattr(bound, "gt", None)) is not None:
            low, above = gt, "above "
    return meaning + _bounds(low, high, above)


def command_section(command: Command) -> str:
    """The flags of one program, those of its sub-commands each in a table of its own."""
    root = load(command.name)
    parts = [f"## {command.title}\n"]
    if command.prefix:
        parts.append("Each flag is an environment variable, too.\n")
    if command.file:
        parts.append(f"In a checkout that is not installed: `python {command.file}`.\n")
    subcommands: dict[str, Any] = getattr(root, "commands", {})
    for name, one in ({"": root} | subcommands).items():
        rows = [
            _row(parameter, name, command.prefix)
            for parameter in one.params
            if parameter.name not in NOT_SETTINGS and not parameter.hidden
        ]
        if not rows and subcommands:
            continue
        parts.append(f"`{f'tkb {command.name} {name}'.strip()}`: {_first_line(one.help)}\n")
        heads: tuple[str, ...] = ("argument or flag", "environment", "default", "meaning")
        if not command.prefix:
            heads, rows = _without_environment(heads), [_without_environment(row) for row in rows]
        parts.append(_table(heads, rows))
    return "\n".join(parts)


def _without_environment(row: tuple[str, ...]) -> tuple[str, ...]:
    return (row[0], *row[2:])


def _row(parameter: Any, subcommand: str, prefix: str) -> tuple[str, ...]:
    if type(parameter).__name__ == "TyperArgument":
        flag = f"`{parameter.metavar or parameter.name.upper()}`"
        shown = "" if parameter.required else _shown(parameter.default)
        environment = ""
    else:
        flag = " / ".join(f"`{one}`" for one in (*parameter.opts, *parameter.secondary_opts))
        words = (prefix, subcommand.replace("-", "_"), parameter.name)
        named = parameter.envvar or "_".join(word for word in words if word).upper()
        environment = f"`{named}`"
        custom = parameter.show_default
        shown = f"`{custom}`" if isinstance(custom, str) else _shown(parameter.default)
    meaning = " ".join((parameter.help or "").split())
    annotation = parameter.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        meaning += f" ({', '.join(f'`{one.value}`' for one in annotation)})"
    return flag, environment, shown, meaning + _bounds(parameter.min, parameter.max)


def _bounds(low: float | None, high: float | None, above: str = "") -> str:
    if low is not None and high is not None:
        return f" ({above}{low:,} to {high:,})"
    if low is not None and (low or above):
        return f" ({above or 'at least '}{low:,})"
    return ""


def _shown(default: object) -> str:
    if default in (None, "", {}) or default is False:
        return ""
    if isinstance(default, enum.Enum):
        default = default.value
    return f"`{default}`" if isinstance(default, str | Path) else f"`{json.dumps(default)}`"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = ([cell.replace("|", r"\|") for cell in row] for row in (heads, *rows))
    head, *body = [f"| {' | '.join(row)} |\n" for row in cells]
    return "".join((head, "|---" * len(heads) + "|\n", *body))


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def page() -> str:
    """The whole page."""
    return "\n".join(
        [HEAD + bridge_table() + KAFKA_OPTIONS, *(command_section(one) for one in COMMANDS)]
    )


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
