"""Topics on a running broker."""

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from stack.errors import StackError

TIMEOUT_S = 30.0


def create_topics(
    bootstrap: str,
    partitions: Mapping[str, int],
    config: Mapping[str, str] | None = None,
    replication_factor: int = 1,
) -> None:
    """Create topics and return when their partitions have leaders.

    A topic that exists already is left as it is, so this may be called at every start.

    Args:
        bootstrap: `host:port` of a broker.
        partitions: how many each topic gets.
        config: topic settings, the same for all of them.

    Raises:
        StackError: no broker, or it refused one of them.
    """
    # log_level: warnings; at each close it would say that it drops its last internal event.
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
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
