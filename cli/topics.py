"""Topics, as every program looks for them: one text where there are none, and how to make them."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from cli.clients import explain, make_client, reason

PAUSE_S = 0.2
UNKNOWN_S = 2.0
"""How long a topic that the broker does not know is looked for: it may just have been created."""
TIMEOUT_S = 30.0


class TopicError(Exception):
    """A topic that cannot be used or made; the text says which, where and what to do."""


def missing_topics(brokers: str, topics: Sequence[str]) -> str:
    """What every program says when topics are not there."""
    names = " ".join(topics)
    return (
        f"no such topic on {brokers}: {', '.join(topics)}; create it "
        f"(tkb topics create --brokers {brokers} {names}) or name another"
    )


def find_partitions(
    client: Consumer | Producer, brokers: str, topic: str, timeout_s: float
) -> list[int]:
    """The partitions of a topic; one that was just created is waited for.

    Raises:
        TopicError: there is no such topic, or it may not be used.
        KafkaException: no broker answers.
    """
    deadline = time.monotonic() + timeout_s
    unknown = time.monotonic() + min(timeout_s, UNKNOWN_S)
    while True:
        found = client.list_topics(topic, timeout=timeout_s).topics[topic]
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
        KafkaException: it is not known by then.
    """
    while True:
        left = max(deadline - time.monotonic(), PAUSE_S)
        try:
            return consumer.get_watermark_offsets(at, timeout=left)[1]
        except KafkaException:
            # A new topic is known a moment before its partitions have a leader.
            if time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE_S)


class NewTopics(NamedTuple):
    """What became of the topics that were asked for."""

    created: list[str]
    existed: list[str]


def create_topics(
    config: Mapping[str, Any],
    partitions: Mapping[str, int],
    settings: Mapping[str, str],
    replication_factor: int,
    timeout_s: float,
) -> NewTopics:
    """Create topics and return when their partitions have leaders; one that exists is left alone.

    Args:
        config: of the client.
        partitions: how many each topic gets.
        settings: topic settings, the same for all; those left out are the broker's.
        replication_factor: copies of each partition; -1: the broker's default.

    Raises:
        TopicError: no broker, or it refused one of them.
        KafkaSettingError: a setting that the client refuses.
    """
    admin = make_client(AdminClient, config)
    brokers = config["bootstrap.servers"]
    wanted = [
        NewTopic(name, count, replication_factor, config=dict(settings))
        for name, count in partitions.items()
    ]
    done = NewTopics([], [])
    try:
        admin.list_topics(timeout=timeout_s)
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
    _await_leaders(admin, partitions, brokers, time.monotonic() + timeout_s)
    return done


def _await_leaders(
    admin: AdminClient, topics: Mapping[str, int], brokers: str, deadline: float
) -> None:
    """A broker learns of a topic a moment after the controller has made it."""
    while True:
        known = admin.list_topics(timeout=TIMEOUT_S).topics
        missing = [
            name
            for name in topics
            if name not in known or any(one.leader < 0 for one in known[name].partitions.values())
        ]
        if not missing:
            return
        if time.monotonic() >= deadline:
            raise TopicError(f"topics on {brokers} have no leader yet: {', '.join(missing)}")
        time.sleep(PAUSE_S / 4)
