"""Hold a bridge's settings against the real Kafka and Triton, and change nothing: `tkb doctor`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import typer
from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
    ResourceType,
)

from bridge.command import flags, given
from bridge.config import ConfigError, Settings, load
from bridge.inference import InferenceError
from bridge.kafka.clients import make_consumer, read_group
from bridge.logs import configure
from bridge.startup import connect
from bridge.triton.addresses import Addresses
from bridge.triton.client import probe
from bridge.triton.model import UnservableModelError
from bridge.triton.peer import speaks_http
from cli.app import FAILED, make_app
from cli.clients import (
    ClientLog,
    KafkaSettingError,
    client_config,
    explain,
    make_client,
    reach,
    reason,
)
from cli.topics import missing_topics

TIMEOUT_S = 10.0

app = make_app()

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `wrong`: the bridge would not answer images as it is set."""

    verdict: Verdict
    text: str


def check_kafka(settings: Settings) -> Iterator[Finding]:
    """Brokers, topics, rights and limits, and where the group would begin."""
    kept = ClientLog()
    consumer = make_consumer(settings, kept.error, lambda _: None, lambda *_: None)
    try:
        yield from _check_kafka(settings, consumer, {"logger": kept})
    except KafkaException as error:
        why = explain(consumer, {"logger": kept}, error)
        yield Finding("wrong", f"Kafka at {settings.brokers}: {why}")
    finally:
        consumer.close()


def _check_kafka(
    settings: Settings, consumer: Consumer, heard: Mapping[str, Any]
) -> Iterator[Finding]:
    known = reach(consumer, heard)
    yield Finding("ok", f"Kafka at {settings.brokers}: {len(known.brokers)} broker(s)")
    missing = [topic for topic in settings.topics if topic not in known.topics]
    if missing:
        yield Finding("wrong", missing_topics(settings.brokers, missing))
        return
    for topic in settings.topics:
        yield Finding("ok", f"topic {topic}: {len(known.topics[topic].partitions)} partition(s)")
    config = client_config(settings.brokers, "doctor", settings.kafka)
    if settings.kafka_password is not None:
        config["sasl.password"] = settings.kafka_password.get_secret_value()
    admin = make_client(AdminClient, config)
    yield from _rights(settings, admin)
    yield from _limits(settings, admin)
    yield _beginning(settings, consumer, list(known.topics[settings.images_topic].partitions))


def _rights(settings: Settings, admin: AdminClient) -> Iterator[Finding]:
    asked = admin.describe_topics(
        TopicCollection(list(settings.topics)),
        include_authorized_operations=True,
        request_timeout=TIMEOUT_S,
    )
    for topic in settings.topics:
        allowed = asked[topic].result(2 * TIMEOUT_S).authorized_operations
        needed = AclOperation.READ if topic == settings.images_topic else AclOperation.WRITE
        if allowed is not None and not {needed, AclOperation.ALL} & set(allowed):
            yield Finding("wrong", f"topic {topic}: this user has no right to {needed.name}")


def _limits(settings: Settings, admin: AdminClient) -> Iterator[Finding]:
    """Which records the topics take, beside which images the bridge does."""
    names = (settings.images_topic, settings.dead_letters_topic)
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    asked = admin.describe_configs(resources, request_timeout=TIMEOUT_S)
    try:
        images, letters = (
            int(asked[one].result(2 * TIMEOUT_S)["max.message.bytes"].value or 0)
            for one in resources
        )
    except KafkaException as error:
        yield Finding("note", f"what the topics take at most is not told: {reason(error)}")
        return
    if settings.max_image_bytes > images:
        yield Finding(
            "note",
            f"max_image_bytes is {settings.max_image_bytes:,}, but topic {names[0]} takes records "
            f"of {images:,} bytes at most (its max.message.bytes)",
        )
    if letters < images:
        yield Finding(
            "note",
            f"topic {names[1]} takes records of {letters:,} bytes at most, topic {names[0]} of "
            f"{images:,}: the dead letter of a larger image goes without the image",
        )


def _beginning(settings: Settings, consumer: Consumer, numbers: list[int]) -> Finding:
    state = read_group(settings)
    if others := state.others(settings.model):
        return Finding(
            "wrong",
            f"group {settings.group}: its {state.members} member(s) answer by {', '.join(others)}: "
            "use another --group",
        )
    places = [TopicPartition(settings.images_topic, number) for number in numbers]
    waiting = 0
    for place in consumer.committed(places, timeout=TIMEOUT_S):
        low, high = consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)
        begun = place.offset >= 0
        waiting += high - max(low, place.offset) if begun else high - low
    if state.begun:
        return Finding("ok", f"group {settings.group} would go on; {waiting:,} records wait for it")
    where = f"would answer all {waiting:,} records that Kafka still has (--start latest: none)"
    if settings.start == "latest":
        where = f"would begin at the end, past {waiting:,} records"
    return Finding("ok", f"group {settings.group} is new and {where}")


def check_triton(settings: Settings) -> Iterator[Finding]:
    """Each server, its model, and one grey image through it."""
    addresses = Addresses(settings.triton)
    servers = addresses.now()
    if not servers:
        yield Finding("wrong", f"triton: {addresses.problem or 'no address'}")
    for address in servers:
        server = connect(settings, address)
        try:
            spec = server.load_spec(TIMEOUT_S)
            if spec.shape is not None or spec.error_output is not None:
                probe(server, spec, settings.request_timeout_s)
            yield Finding(
                "ok",
                f"Triton at {address.text}: model {spec.name}, batches of {spec.max_batch} at "
                "most, answers a grey image",
            )
        except (InferenceError, UnservableModelError) as error:
            http = "it speaks HTTP and not gRPC; Triton's gRPC port is 8001 by default"
            text = http if speaks_http(address.text) else error
            yield Finding("wrong", f"Triton at {address.text}: {text}")
        finally:
            server.close()


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (check_kafka, check_triton)


@flags
def main(context: typer.Context, **_flags: Any) -> int:
    """Hold the settings of a bridge against the real Kafka and Triton, and change nothing.

    Takes the flags, variables and file that the bridge takes, and prints a line for each thing
    that was looked at and what the bridge would do.

    Exit code: 0 it would run, 1 something is wrong, 2 usage.
    """
    try:
        settings = load(given(context))
        configure("error", settings.log_format)  # what is found is said once, as findings
        found = []
        for check in CHECKS:
            for finding in check(settings):
                typer.echo(f"{finding.verdict:5}  {finding.text}")
                found.append(finding.verdict)
    except (ConfigError, KafkaSettingError) as error:
        raise typer.BadParameter(str(error)) from None
    raise typer.Exit(FAILED if "wrong" in found else 0)


app.command()(main)
