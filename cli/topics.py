"""Topics, as every program looks for them: one text where there are none, and how to make them."""

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


def why_absent(client: Asked, brokers: str, topics: Sequence[str], timeout_s: float) -> str:
    """Why topics are not in the list of all: there are none such, or this user may not see them.

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
        config: of the client.
        timeout_s: to reach Kafka; None: as `reach` says.

    Raises:
        TopicError: there is no such topic, or it may not be used.
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
    """Create topics and return when every broker knows them, and the leaders of their partitions.

    A topic that exists already is left alone.

    Args:
        config: of the client.
        partitions: how many each topic gets.
        settings: topic settings, the same for all; those left out are the broker's.
        replication_factor: copies of each partition; -1: the broker's default.

    Raises:
        TopicError: no broker, it refused one of them, or one of them got no leader in time.
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
    # The controller has answered; each broker hears of it a moment later. A client that starts
    # meanwhile is told that there is no such topic.
    for broker in admin.list_topics(timeout=timeout_s).brokers.values():
        address = f"{broker.host}:{broker.port}"
        await_topics(
            make_client(AdminClient, {**config, "bootstrap.servers": address}),
            partitions,
            f"on {address}",
        )
    return done


class Admin(Protocol):
    """What is asked of Kafka's client while topics are waited for."""

    def list_topics(self, *, timeout: float) -> Any: ...


def await_topics(
    admin: Admin,
    names: Collection[str],
    where: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when a broker knows each of the topics, and a leader of each of their partitions.

    Args:
        admin: a client of that broker.
        where: the broker, for an error's text.

    Raises:
        TopicError: it does not after `TIMEOUT_S`; says which.
    """
    deadline = clock() + TIMEOUT_S
    while True:
        try:
            # All topics: to ask for one of them might create it.
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
