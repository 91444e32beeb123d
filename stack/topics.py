"""Creates topics on a broker of the stack."""

from collections.abc import Mapping

from cli import topics
from cli.clients import client_config
from stack.errors import StackError


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
        partitions: number of partitions of each topic.
        config: topic settings, the same for all topics.

    Raises:
        StackError: no broker is reached, or it refused a topic.
    """
    client = client_config(bootstrap, "stack", {})
    try:
        topics.create_topics(client, partitions, config or {}, replication_factor, topics.TIMEOUT_S)
    except topics.TopicError as error:
        raise StackError(str(error)) from None
