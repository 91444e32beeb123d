"""What `tkb doctor` checks: the real Kafka and Triton against the settings of a bridge."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from bridge.building import check_client
from bridge.config import ConfigError, Settings
from bridge.inference import InferenceError
from bridge.kafka.clients import check_promises, make_consumer
from bridge.kafka.group import read_group
from bridge.startup import connect, make_registry
from bridge.triton.addresses import Addresses
from bridge.triton.client import TritonServer, probe
from bridge.triton.model import UnservableModelError
from cli.clients import ClientLog, client_config, explain, make_client, reach, reason
from cli.peer import not_triton
from cli.topics import missing_topics
from tracing.errors import TracingError
from tracing.start import require_tracing

TIMEOUT_S = 10.0
SKEW_S = 1.0
"""Difference between two clocks, in seconds, up to which they are taken to agree: asking for the
time takes time, too."""
STATISTICS_S = 1.0
"""How long Triton may take to count the grey image, in seconds."""

clock_s = time.time

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `wrong`: with these settings the bridge would not answer images."""

    verdict: Verdict
    text: str


def check_packages(settings: Settings) -> Iterator[Finding]:
    """Check that the packages are installed which some settings need."""
    needed: list[Callable[[], object]] = [lambda: check_client(settings)]
    if settings.prediction_format != "json":
        needed.append(lambda: make_registry(settings).close())
    if settings.tracing:
        needed.append(require_tracing)
    for require in needed:
        try:
            require()
        except (ConfigError, TracingError) as error:
            yield Finding("wrong", str(error))


def check_kafka(settings: Settings) -> Iterator[Finding]:
    """Check brokers, topics, rights, limits and clocks, and where the group would begin."""
    check_promises(settings)
    kept = ClientLog()
    heard = {"bootstrap.servers": settings.brokers, "logger": kept}
    consumer = make_consumer(settings, kept.error, lambda _: None, lambda *_: None)
    try:
        yield from _check_kafka(settings, consumer, heard)
    except KafkaException as error:
        why = explain(consumer, heard, error)
        yield Finding("wrong", f"Kafka at {settings.brokers}: {why}")
    finally:
        consumer.close()


def _check_kafka(
    settings: Settings, consumer: Consumer, heard: Mapping[str, Any]
) -> Iterator[Finding]:
    known = reach(consumer, heard)
    yield Finding("ok", f"Kafka at {settings.brokers}: {len(known.brokers)} broker(s)")
    config = client_config(settings.brokers, "doctor", settings.kafka)
    if settings.kafka_password is not None:
        config["sasl.password"] = settings.kafka_password.get_secret_value()
    admin = make_client(AdminClient, config)
    partitions: dict[str, list[int]] = {}
    yield from _topics(settings, admin, partitions)
    if settings.images_topic not in partitions:
        return
    yield from _limits(settings, admin)
    places = [
        TopicPartition(settings.images_topic, number)
        for number in partitions[settings.images_topic]
    ]
    yield from _clock(admin, places)
    yield from _group(settings, admin)
    yield _beginning(settings, consumer, places)


def _topics(
    settings: Settings, admin: AdminClient, partitions: dict[str, list[int]]
) -> Iterator[Finding]:
    """Check the topics and this user's rights on them; adds the partitions of those that exist to
    `partitions`."""
    asked = admin.describe_topics(
        TopicCollection(list(settings.topics)),
        include_authorized_operations=True,
        request_timeout=TIMEOUT_S,
    )
    missing = []
    for topic in settings.topics:
        try:
            found = asked[topic].result(2 * TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                missing.append(topic)
            else:
                yield Finding("wrong", f"topic {topic}: {reason(error)}")
            continue
        partitions[topic] = [one.id for one in found.partitions]
        needed = AclOperation.READ if topic == settings.images_topic else AclOperation.WRITE
        if _may(needed, found.authorized_operations):
            yield Finding("ok", f"topic {topic}: {len(found.partitions)} partition(s)")
        else:
            yield Finding("wrong", f"topic {topic}: this user has no right to {needed.name}")
    if missing:
        yield Finding("wrong", missing_topics(settings.brokers, missing))


def _may(operation: AclOperation, allowed: Collection[AclOperation] | None) -> bool:
    """Whether the user has a right; a broker that does not report rights is taken to allow it."""
    return not allowed or bool({operation, AclOperation.ALL} & set(allowed))


def _group(settings: Settings, admin: AdminClient) -> Iterator[Finding]:
    """Check the rights that are not about topics."""
    asked = admin.describe_consumer_groups(
        [settings.group], include_authorized_operations=True, request_timeout=TIMEOUT_S
    )
    try:
        allowed = asked[settings.group].result(2 * TIMEOUT_S).authorized_operations
    except KafkaException as error:
        if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            yield Finding("wrong", f"group {settings.group}: {reason(error)}")
        allowed = None
    if not _may(AclOperation.READ, allowed):
        yield Finding("wrong", f"group {settings.group}: this user has no right to READ")
    if settings.delivery == "exactly-once":
        yield Finding(
            "note",
            "whether this user may write transactions is not told by Kafka: only a start shows it",
        )


def _limits(settings: Settings, admin: AdminClient) -> Iterator[Finding]:
    """Compare the record sizes that the topics accept with the images that the bridge accepts."""
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


def _clock(admin: AdminClient, places: list[TopicPartition]) -> Iterator[Finding]:
    """Whether an image is dated in the future. A producer's clock that is behind cannot be seen."""
    newest: OffsetSpec = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    wanted = dict.fromkeys(places, newest)
    asked = admin.list_offsets(wanted, request_timeout=TIMEOUT_S)
    newest_ms = max((one.result(2 * TIMEOUT_S).timestamp for one in asked.values()), default=-1)
    if newest_ms < 0:
        return
    age_s = clock_s() - newest_ms / 1000
    topic = places[0].topic
    if age_s < -SKEW_S:
        yield Finding(
            "note",
            f"the newest record of {topic} is dated {-age_s:,.1f} s after this machine's time: the "
            "clocks differ, and so will all latencies, and what --max-age takes for old",
        )
    else:
        yield Finding("ok", f"the newest record of {topic} is {max(age_s, 0):,.1f} s old")


def _beginning(settings: Settings, consumer: Consumer, places: list[TopicPartition]) -> Finding:
    state = read_group(settings, consumer)
    if others := state.others(settings.model):
        return Finding(
            "wrong",
            f"group {settings.group}: its {state.members} member(s) answer by {', '.join(others)}: "
            "use another --group",
        )
    waiting = 0
    for place in consumer.committed(places, timeout=TIMEOUT_S):
        if place.error is not None:
            return Finding("wrong", f"group {settings.group}: {place.error.str()}")
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
    """Check each server: its model, one grey image through it, and its clock."""
    addresses = Addresses(settings.triton)
    servers = addresses.now()
    if not servers:
        yield Finding("wrong", f"triton: {addresses.problem or 'no address'}")
    for address in servers:
        server = connect(settings, address)
        try:
            spec = server.load_spec(TIMEOUT_S)
            before_s, counted_s = clock_s(), _last_answer(server)
            if spec.shape is not None or spec.error_output is not None:
                probe(server, spec, settings.request_timeout_s)
            yield Finding(
                "ok",
                f"Triton at {address.text}: model {spec.name}, batches of {spec.max_batch} at "
                "most, answers a grey image",
            )
            yield from _clock_of(server, address.text, before_s, counted_s)
        except (InferenceError, UnservableModelError) as error:
            text = not_triton(address.text) if isinstance(error, InferenceError) else None
            yield Finding("wrong", f"Triton at {address.text}: {text or error}")
        finally:
            server.close()


def _last_answer(server: TritonServer) -> float | None:
    try:
        return server.last_answer(TIMEOUT_S)
    except InferenceError:  # an operator may restrict it
        return None


def _clock_of(
    server: TritonServer, name: str, before_s: float, counted_s: float | None
) -> Iterator[Finding]:
    """Compare clocks by the time of Triton's last answer: that of the grey image, or a later one.

    Args:
        before_s: our time before that image was sent, in epoch seconds.
        counted_s: time of the answer before it, in epoch seconds; None: there was none.
    """
    deadline = time.monotonic() + STATISTICS_S
    while (last_s := _last_answer(server)) == counted_s:
        if last_s is None or time.monotonic() >= deadline:
            return
        time.sleep(0.05)
    assert last_s is not None
    after_s = clock_s()
    off_s = min(last_s - before_s, 0) + max(last_s - after_s, 0)
    if abs(off_s) > SKEW_S:
        direction = "behind" if off_s < 0 else "ahead of"
        yield Finding(
            "note",
            f"Triton at {name}: its clock is {abs(off_s):,.1f} s {direction} this machine's: its "
            "traces and logs will not fit those of the bridge",
        )


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    check_packages,
    check_kafka,
    check_triton,
)
