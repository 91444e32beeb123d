"""Kafka clients, configured once: what users may override and what the bridge depends on."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import orjson
import structlog
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from bridge.config import Settings
from cli.clients import KafkaSettingError, client_config, make_client

log = structlog.get_logger()

_OWNED = {
    # An offset is committed when its answer is safe, which only the bridge knows.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": False,
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
}


def _common(settings: Settings, on_error: Callable[[KafkaError], None]) -> dict[str, object]:
    common = client_config(settings.brokers, "bridge", {}, logger=KafkaLog(), on_error=on_error)
    if settings.kafka_password is not None:
        common["sasl.password"] = settings.kafka_password.get_secret_value()
    return common


def _merge(
    settings: Settings, defaults: Mapping[str, object], specific: Mapping[str, object]
) -> dict[str, object]:
    given = {**settings.kafka, **specific}
    for name in given:
        if name in _OWNED or name in ("group.id", "transactional.id", "bootstrap.servers"):
            raise KafkaSettingError(f"{name} is decided by the bridge and cannot be set")
    return {**defaults, **given}


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
    settings: Settings, on_error: Callable[[KafkaError], None], extra: Mapping[str, object]
) -> Producer:
    """A producer for predictions and dead letters.

    Raises:
        KafkaSettingError: an option that cannot be used.
    """
    merged = _merge(settings, _PRODUCER_DEFAULTS, settings.kafka_producer)
    config = {**_common(settings, on_error), **merged, **extra}
    return make_client(Producer, config)


class Statistics(NamedTuple):
    """What the bridge wants of librdkafka's statistics.

    Attributes:
        lags: records behind the log's end, by (topic, partition), for assigned partitions.
    """

    brokers_up: int
    lags: dict[tuple[str, int], int]


def read_statistics(text: str) -> Statistics:
    """Read the JSON that librdkafka hands to `stats_cb`."""
    body = orjson.loads(text)
    brokers = body.get("brokers", {}).values()
    lags = {
        (topic, one["partition"]): one["consumer_lag"]
        for topic, of_topic in body.get("topics", {}).items()
        for one in of_topic.get("partitions", {}).values()
        if one.get("consumer_lag", -1) >= 0
    }
    return Statistics(sum(one.get("state") == "UP" for one in brokers), lags)


class KafkaLog:
    """Takes librdkafka's own log lines into the bridge's log."""

    def log(self, level: int, message: str, *arguments: object) -> None:
        text = message % arguments if arguments else message
        # The standard library's levels; librdkafka's warnings repeat what its errors say.
        log.debug("librdkafka", level=level, message=text[:500])
