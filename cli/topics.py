"""How all programs find topics, the text about missing ones, and how topics are created."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from cli.clients import CONNECT_S, Asked, explain, make_client, reach, reason

PAUSE_S = 0.2
POLL_S = 0.02
"""Time between two looks at whether a broker knows a new topic, in seconds."""
UNKNOWN_S = 2.0
"""Seconds for which a topic that the broker does not know is looked for: it may be quite new."""
TIMEOUT_S = 30.0


class TopicError(Exception):
    """A topic that cannot be used or made; the text says which, where and what to do."""


def missing_topics(brokers: str, topics: Sequence[str]) -> str:
    """The text of every program about missing topics."""
    names = " ".join(topics)
    return (
        f"no such topic on {brokers}: {', '.join(topics)}; create it "
        f"(tkb topics create --brokers {brokers} {names}) or name another"
    )


def why_absent(client: Asked, brokers: str, topics: Sequence[str], timeout_s: float) -> str:
    """Why topics are not listed: they do not exist, or this user may not see them.

    Raises:
        KafkaException: no broker answers.
    """
    found = {name: client.list_topics(name, timeout=timeout_s).topics[name] for name in topics}
    for name, topic in found.items():
        if topic.error is not None and topic.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return f"topic {name!r} on {brokers} cannot be used: {topic.error.str()}"
    return missing_topics(brokers, topics)


def find_partitions(
    client: Consumer | Producer, config: Mapping[str, Any], topic: str, timeout_s: float | None
) -> list[int]:
    """The partitions of a topic; one that was just created is waited for.

    Args:
        config: the client's options.
        timeout_s: seconds to reach Kafka; None: as `reach` does.

    Raises:
        TopicError: the topic does not exist, or this user may not use it.
        KafkaException: no broker answers.
    """
    brokers = config["bootstrap.servers"]
    patience = CONNECT_S if timeout_s is None else timeout_s
    deadline = time.monotonic() + patience
    unknown = time.monotonic() + min(patience, UNKNOWN_S)
    while True:
        found = reach(client, config, timeout_s, topic=topic).topics[topic]
        if found.error is None:
            return sorted(found.partitions)
        absent = found.error.code() in (
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError._UNKNOWN_TOPIC,
        )
        if time.monotonic() >= (unknown if absent else deadline):
            raise TopicError(
                missing_topics(brokers, [topic])
                if absent
                else f"topic {topic!r} on {brokers} cannot be used: {found.error.str()}"
            )
        time.sleep(PAUSE_S)


def end_offset(consumer: Consumer, at: TopicPartition, deadline: float) -> int:
    """The offset that the next record of a partition gets.

    Args:
        deadline: monotonic seconds.

    Raises:
        KafkaException: it is not known before the deadline.
    """
    while True:
        left = max(deadline - time.monotonic(), PAUSE_S)
        try:
            return consumer.get_watermark_offsets(at, timeout=left)[1]
        except KafkaException:
            # A new topic's partitions have no leader for a moment.
            if time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE_S)


class NewTopics(NamedTuple):
    """The topics that were created, and those that existed."""

    created: list[str]
    existed: list[str]


def create_topics(
    config: Mapping[str, Any],
    partitions: Mapping[str, int],
    settings: Mapping[str, str],
    replication_factor: int,
    timeout_s: float,
) -> NewTopics:
    """Create topics; return when every broker knows them and the leaders of their partitions.

    A topic that exists already is left alone.

    Args:
        config: the client's options.
        partitions: number of partitions of each topic.
        settings: topic settings, the same for all; for others the broker's defaults hold.
        replication_factor: copies of each partition; -1: the broker's default.

    Raises:
        TopicError: no broker is reached, it refuses a topic, or a topic gets no leader in time.
        KafkaSettingError: the client refuses a setting.
    """
    admin = make_client(AdminClient, config)
    brokers = config["bootstrap.servers"]
    wanted = [
        NewTopic(name, count, replication_factor, config=dict(settings))
        for name, count in partitions.items()
    ]
    done = NewTopics([], [])
    try:
        reach(admin, config)
    except KafkaException as error:
        why = explain(admin, config, error)
        raise TopicError(f"cannot use Kafka at {brokers}: {why}") from None
    for name, created in admin.create_topics(wanted, operation_timeout=timeout_s).items():
        try:
            created.result(timeout_s)
            done.created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicError(f"topic {name} on {brokers}: {reason(error)}") from None
            done.existed.append(name)
    # The controller has answered, but each broker learns of the topic a moment later. A client that
    # starts meanwhile is told that there is no such topic.
    for broker in admin.list_topics(timeout=timeout_s).brokers.values():
        address = f"{broker.host}:{broker.port}"
        await_topics(
            make_client(AdminClient, {**config, "bootstrap.servers": address}),
            partitions,
            f"on {address}",
        )
    return done


class Admin(Protocol):
    """The part of Kafka's admin client that is used while topics are awaited."""

    def list_topics(self, *, timeout: float) -> Any: ...


def await_topics(
    admin: Admin,
    names: Collection[str],
    where: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when a broker knows each of the topics and a leader of each partition.

    Args:
        admin: a client of that broker.
        where: the broker, for the error text.

    Raises:
        TopicError: it does not know them after `TIMEOUT_S`; the text says which.
    """
    deadline = clock() + TIMEOUT_S
    while True:
        try:
            # All topics are listed, as a question for one might create it.
            missing = _missing(admin.list_topics(timeout=TIMEOUT_S), names)
        except KafkaException as error:
            raise TopicError(f"the topics {where}: {reason(error)}") from None
        if not missing:
            return
        if clock() >= deadline:
            raise TopicError(
                f"no leader {where} after {TIMEOUT_S:.0f} s for: {', '.join(sorted(missing))}"
            )
        sleep(POLL_S)


def _missing(known: Any, names: Collection[str]) -> list[str]:
    found = {
        name: topic.partitions.values()
        for name, topic in known.topics.items()
        if topic.error is None
    }
    return [
        name for name in names if not found.get(name) or any(one.leader < 0 for one in found[name])
    ]
