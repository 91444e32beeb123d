"""Kafka clients, configured once: what users may override and what the bridge depends on."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from bridge.config import Settings
from cli.clients import KafkaSettingError, client_config, make_client

log = structlog.get_logger()

_OWNED = {
    # An offset is committed when its answer is safe, which only the bridge knows.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Tells that a partition can be read though it has nothing new, and how far it was read.
    "enable.partition.eof": True,
}

_CONSUMER_DEFAULTS = {
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
    # The client prefetches beside what the bridge counts; its default is 64 MiB.
    "queued.max.messages.kbytes": 32 * 1024,
    # How long fetching rests once that is full; at the default second, a fast bridge starves.
    "fetch.queue.backoff.ms": 10,
    "allow.auto.create.topics": False,
    "topic.metadata.refresh.interval.ms": 30_000,
    # Tells whether a broker is there and how far behind this bridge is, at no request.
    "statistics.interval.ms": 5_000,
}

_CLASSIC_ONLY = ("partition.assignment.strategy",)
"""Defaults that group.protocol=consumer (KIP-848) does not know: there the broker assigns."""

_PRODUCER_DEFAULTS = {
    "enable.idempotence": True,
    # 0 is for ever: a broker that is away is waited for, and nothing is given up.
    "message.timeout.ms": 0,
    # Answers of one batch come together; waiting for more would only add latency.
    "linger.ms": 0.5,
    "compression.type": "lz4",
    # A dead letter is an image and its reason: the broker's limit is what counts.
    "message.max.bytes": 64 << 20,
    "queue.buffering.max.kbytes": 256 * 1024,
    "statistics.interval.ms": 5_000,
}


def _common(settings: Settings, on_error: Callable[[KafkaError], None]) -> dict[str, object]:
    common = client_config(settings.brokers, "bridge", {}, logger=KafkaLog(), on_error=on_error)
    if settings.kafka_password is not None:
        common["sasl.password"] = settings.kafka_password.get_secret_value()
    return common


_DECIDED = {
    **dict.fromkeys((*_OWNED, "auto.commit.enable", "delivery.report.only.error"), ""),
    "group.id": "; it has the setting group",
    "transactional.id": "; it has the setting transactional_id",
    "transaction.timeout.ms": "; it has the setting transaction_timeout_s",
    "bootstrap.servers": "; it has the setting brokers",
    "metadata.broker.list": "; it has the setting brokers",
}
"""Options that cannot be set, and what to use instead."""

_PROMISES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "enable.idempotence": (
        ("true", "t", "1"),
        "answers could be doubled or lost when a broker fails",
    ),
    "acks": (("all", "-1"), "an answer could be lost after its image was committed"),
    "request.required.acks": (
        ("all", "-1"),
        "an answer could be lost after its image was committed",
    ),
    "message.timeout.ms": (("0",), "a broker that is away would stop the bridge"),
    "delivery.timeout.ms": (("0",), "a broker that is away would stop the bridge"),
    "retries": ((str(2**31 - 1),), "a broker that is away would stop the bridge"),
    "message.send.max.retries": ((str(2**31 - 1),), "a broker that is away would stop the bridge"),
}
"""Options of the producer that keep a promise: the values that do, and what another would mean."""


def _merge(
    settings: Settings, defaults: Mapping[str, object], specific: Mapping[str, object]
) -> dict[str, object]:
    given = {**settings.kafka, **specific}
    for name, value in given.items():
        if name in _DECIDED:
            raise KafkaSettingError(
                f"{name} is decided by the bridge and cannot be set{_DECIDED[name]}"
            )
        allowed, consequence = _PROMISES.get(name, ((), ""))
        if allowed and str(value).lower() not in allowed:
            raise KafkaSettingError(f"{name}={value} is refused: {consequence}; leave it out")
    if settings.delivery == "exactly-once" and not _reads_committed(given):
        raise KafkaSettingError(
            f"isolation.level={given['isolation.level']} is refused with exactly-once delivery: "
            "images of transactions that were aborted would be answered; leave it out"
        )
    if str(given.get("group.protocol", "")).lower() == "consumer":
        defaults = {name: value for name, value in defaults.items() if name not in _CLASSIC_ONLY}
    return {**defaults, **given}


def _reads_committed(options: Mapping[str, object]) -> bool:
    return str(options.get("isolation.level", "read_committed")).lower() == "read_committed"


def consumer_option(settings: Settings, name: str) -> str:
    """A consumer's option as the bridge uses it, in lower case; empty where it has no value."""
    options = {**_CONSUMER_DEFAULTS, **settings.kafka, **settings.kafka_consumer}
    return str(options.get(name, "")).lower()


MODEL = "model="


def commit_metadata(model: str) -> str:
    """What goes with each committed offset: the model that the group's images are answered by."""
    return MODEL + model


def read_model(metadata: str | None) -> str | None:
    """The model that a committed offset names; None where it names none."""
    if metadata is None or not metadata.startswith(MODEL):
        return None
    return metadata.removeprefix(MODEL)


def make_consumer(
    settings: Settings,
    on_error: Callable[[KafkaError], None],
    on_statistics: Callable[[str], None],
    on_commit: Callable[[KafkaError | None, list[TopicPartition]], None],
) -> Consumer:
    """A consumer of the bridge's group.

    Raises:
        KafkaSettingError: an option that cannot be used.
    """
    merged = _merge(settings, _CONSUMER_DEFAULTS, settings.kafka_consumer)
    config = {**_common(settings, on_error), **merged, **_OWNED}
    config |= {"group.id": settings.group, "stats_cb": on_statistics}
    config |= {"on_commit": on_commit}
    return make_client(Consumer, config)


def make_producer(
    settings: Settings,
    on_error: Callable[[KafkaError], None],
    on_statistics: Callable[[str], None],
    extra: Mapping[str, object],
) -> Producer:
    """A producer for predictions and dead letters.

    Raises:
        KafkaSettingError: an option that cannot be used.
    """
    merged = _merge(settings, _PRODUCER_DEFAULTS, settings.kafka_producer)
    config = {**_common(settings, on_error), **merged, **extra, "stats_cb": on_statistics}
    return make_client(Producer, config)


class GroupState(NamedTuple):
    """What a group is now.

    Attributes:
        models: named by its committed offsets of the images topic.
        begun: it has such an offset.
    """

    members: int
    models: set[str]
    begun: bool

    def others(self, model: str) -> list[str]:
        """The models by which its members answer now, where that is not this one."""
        return sorted(self.models - {model}) if self.members else []


def read_group(settings: Settings) -> GroupState:
    """Ask for the group, as nobody in it; empty where that cannot be learnt."""
    config: dict[str, Any] = _common(settings, lambda _error: None)
    admin = make_client(AdminClient, {**config, **settings.kafka, **settings.kafka_consumer})
    name = settings.group
    asked = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(name)], request_timeout=ADMIN_TIMEOUT_S
    )
    described = admin.describe_consumer_groups([name], request_timeout=ADMIN_TIMEOUT_S)
    try:
        places = asked[name].result(2 * ADMIN_TIMEOUT_S).topic_partitions or []
        members = described[name].result(2 * ADMIN_TIMEOUT_S).members
    except (KafkaException, TimeoutError):
        return GroupState(0, set(), begun=True)
    ours = [one for one in places if one.topic == settings.images_topic and one.offset >= 0]
    found = (read_model(one.metadata) for one in ours)
    return GroupState(len(members), {model for model in found if model is not None}, bool(ours))


def begin_at_ends(settings: Settings, consumer: Consumer) -> int:
    """Commit, for a group that nobody is in, the end of each partition; how many there are.

    A reset at the ends (`auto.offset.reset=latest`) would do so for each partition whenever it has
    no offset, after a rebalance for instance, and pass over images that have come meanwhile.

    Raises:
        KafkaException: Kafka does not take them; the group has got a member, perhaps.
    """
    topic = settings.images_topic
    numbers = consumer.list_topics(topic, timeout=ADMIN_TIMEOUT_S).topics[topic].partitions
    places = []
    for number in numbers:
        place = TopicPartition(topic, number)
        place.offset = consumer.get_watermark_offsets(place, timeout=ADMIN_TIMEOUT_S)[1]
        places.append(place)
    config: dict[str, Any] = _common(settings, lambda _error: None)
    admin = make_client(AdminClient, {**config, **settings.kafka, **settings.kafka_consumer})
    wanted = ConsumerGroupTopicPartitions(settings.group, places)
    altered = admin.alter_consumer_group_offsets([wanted], request_timeout=ADMIN_TIMEOUT_S)
    for one in altered[settings.group].result(2 * ADMIN_TIMEOUT_S).topic_partitions:
        if one.error is not None:
            raise KafkaException(one.error)
    return len(places)


ADMIN_TIMEOUT_S = 5.0


class KafkaLog:
    """Takes librdkafka's own log lines into the bridge's log."""

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Called on any thread; `level` is one of the standard library's."""
        text = message % arguments if arguments else message
        facility = text.partition(" ")[0]  # "OFFSET [client] ...": from a fixed set
        # What is an error to it comes as one, too: see `on_error`.
        told = level < logging.WARNING or facility in ("FAIL", "ERROR")
        tell = log.debug if told else log.warning
        tell("librdkafka", facility=facility, message=text[:500])
