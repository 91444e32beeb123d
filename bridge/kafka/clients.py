"""Kafka clients, configured in one place: the bridge's defaults, and the options it depends on."""

from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from bridge.config import Settings
from bridge.kafka.client_log import KafkaLog
from cli.clients import (
    KafkaSettingError,
    check_options,
    client_config,
    make_client,
    option_name,
)

_OWNED = {
    # An offset is committed when its outcome is safe, and only the bridge knows when that is.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Reports that a partition can be read though it has nothing new, and how far it was read.
    "enable.partition.eof": True,
}

_CONSUMER_DEFAULTS = {
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
    # The client prefetches in addition to what the bridge counts; its default is 64 MiB.
    "queued.max.messages.kbytes": 32 * 1024,
    # Pause of fetching when that queue is full; with the default of 1 s, a fast bridge starves.
    "fetch.queue.backoff.ms": 10,
    "allow.auto.create.topics": False,
    "topic.metadata.refresh.interval.ms": 30_000,
    # Shows, without a request, whether a broker is there and how far behind this bridge is.
    "statistics.interval.ms": 5_000,
}

_CLASSIC_ONLY = ("partition.assignment.strategy",)
"""Defaults that group.protocol=consumer (KIP-848) does not accept: there the broker assigns."""

_PRODUCER_DEFAULTS = {
    "enable.idempotence": True,
    # 0 means for ever: the client waits for a broker that is away, and gives nothing up.
    "message.timeout.ms": 0,
    # The outcomes of a batch come together; waiting for more would only add latency.
    "linger.ms": 0.5,
    "compression.type": "lz4",
    # A dead letter is an image and its reason: the limit that counts is the broker's.
    "message.max.bytes": 64 << 20,
    "queue.buffering.max.kbytes": 256 * 1024,
    "statistics.interval.ms": 5_000,
}
_TRANSACTIONAL_DEFAULTS = {
    # After a commit, the broker still writes its markers, and for some milliseconds refuses the
    # partitions of the next transaction. The client then asks again, first after this time, then
    # after twice as long, and so on. With its default of 100, each transaction of single images
    # took 60 ms or more, and often 200.
    "retry.backoff.ms": 2,
    # By default, a client that has lost all brokers begins anew with those of its settings. It
    # then still asks the old broker for the group's coordinator, and waits for ever: after each
    # restart of a single broker, the first transaction hung.
    "metadata.recovery.strategy": "none",
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
    # Each replaces the brokers, or the reports that come from them.
    "test.mock.num.brokers": ": the client would use brokers of its own, which keep nothing",
    "enabled_events": ": the client would not report what became of an answer",
}
"""Options that cannot be set, and what to use instead or why."""

_ALIASES = {
    "request.required.acks": "acks",
    "delivery.timeout.ms": "message.timeout.ms",
    "retries": "message.send.max.retries",
}

_PROMISES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "enable.idempotence": (
        ("true", "t", "1"),
        "answers could be doubled or lost when a broker fails",
    ),
    "acks": (("all", "-1"), "an answer could be lost after its image was committed"),
    "message.timeout.ms": (("0",), "a broker that is away would stop the bridge"),
    "message.send.max.retries": ((str(2**31 - 1),), "a broker that is away would stop the bridge"),
    "auto.offset.reset": (
        ("earliest", "smallest", "beginning", "error"),
        "images would be passed over wherever the group has no offset, on a new partition for one "
        "(--start latest begins once at the end)",
    ),
}
"""Options that keep a promise: the values allowed, and what any other value would mean."""


def _given(settings: Settings, specific: Mapping[str, object]) -> dict[str, object]:
    """The options that the user has set for a client, each under only one of its names.

    Raises:
        KafkaSettingError: an option that cannot be set.
    """
    given: dict[str, object] = {}
    options = {**settings.kafka, **specific}
    check_options(options)
    for written, value in options.items():
        name = option_name(written)
        if name in _DECIDED:
            raise KafkaSettingError(
                f"{written} is decided by the bridge and cannot be set{_DECIDED[name]}"
            )
        name = _ALIASES.get(name, name)
        allowed, consequence = _PROMISES.get(name, ((), ""))
        if allowed and str(value).lower() not in allowed:
            raise KafkaSettingError(f"{written}={value} is refused: {consequence}; leave it out")
        given[name] = value
    return given


def _merge(
    settings: Settings, defaults: Mapping[str, object], specific: Mapping[str, object]
) -> dict[str, object]:
    given = _given(settings, specific)
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
    """The value of a consumer's option as the bridge uses it, in lower case; empty: no value."""
    given = {**settings.kafka, **settings.kafka_consumer}
    options = {**_CONSUMER_DEFAULTS, **{option_name(one): value for one, value in given.items()}}
    return str(options.get(name, "")).lower()


def check_promises(settings: Settings) -> None:
    """Check the users' options for Kafka's clients.

    Raises:
        KafkaSettingError: an option would undo what the bridge promises.
    """
    _merge(settings, {}, settings.kafka_consumer)
    _merge(settings, {}, settings.kafka_producer)


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


def make_reader(settings: Settings) -> Consumer:
    """A consumer that is given its partitions, and joins no group.

    Raises:
        KafkaSettingError: an option that cannot be used.
    """
    return make_consumer(settings, lambda _error: None, lambda _text: None, lambda *_: None)


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
    defaults: Mapping[str, object] = _PRODUCER_DEFAULTS
    if "transactional.id" in extra:
        defaults = {**defaults, **_TRANSACTIONAL_DEFAULTS}
    merged = _merge(settings, defaults, settings.kafka_producer)
    config = {**_common(settings, on_error), **merged, **extra, "stats_cb": on_statistics}
    return make_client(Producer, config)


def make_admin(settings: Settings) -> AdminClient:
    """A client that asks about the group without being in it.

    Raises:
        KafkaSettingError: an option that cannot be used.
    """
    config = _common(settings, lambda _error: None)
    return make_client(AdminClient, {**config, **settings.kafka, **settings.kafka_consumer})
