"""Topics on a running broker."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from stack.errors import StackError

TIMEOUT_S = 30.0
POLL_S = 0.02


class Admin(Protocol):
    """What is asked of Kafka's client here."""

    def list_topics(self, *, timeout: float) -> Any: ...


def create_topics(
    bootstrap: str,
    partitions: Mapping[str, int],
    config: Mapping[str, str] | None = None,
    replication_factor: int = 1,
) -> None:
    """Create topics and return when every broker knows all of them, and the partitions' leaders.

    A topic that exists already is left as it is, so this may be called at every start.

    Args:
        bootstrap: `host:port` of a broker.
        partitions: how many each topic gets.
        config: topic settings, the same for all of them.

    Raises:
        StackError: no broker, it refused one of them, or one of them got no leader in time.
    """
    admin = _admin(bootstrap)
    wanted = [
        NewTopic(name, count, replication_factor, config=dict(config or {}))
        for name, count in partitions.items()
    ]
    for name, created in admin.create_topics(wanted, operation_timeout=TIMEOUT_S).items():
        try:
            created.result(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise StackError(f"topic {name} on {bootstrap}: {error.args[0].str()}") from None
    # The controller has answered; each broker hears of it a moment later. A client that starts
    # meanwhile is told that there is no such topic.
    for broker in admin.list_topics(timeout=TIMEOUT_S).brokers.values():
        address = f"{broker.host}:{broker.port}"
        await_topics(_admin(address), partitions, f"on {address}")


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
        StackError: it does not after `TIMEOUT_S`; says which.
    """
    deadline = clock() + TIMEOUT_S
    while True:
        try:
            # All topics: to ask for one of them might create it.
            missing = _missing(admin.list_topics(timeout=TIMEOUT_S), names)
        except KafkaException as error:
            raise StackError(f"the topics {where}: {error.args[0].str()}") from None
        if not missing:
            return
        if clock() >= deadline:
            raise StackError(
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


def _admin(bootstrap: str) -> AdminClient:
    # log_level: warnings; at each close it would say that it drops its last internal event.
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
