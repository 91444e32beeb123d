"""How far each replay of a topic's dead letters has come; Kafka keeps it as a group's offsets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from cli.clients import make_client, reason
from deadletters.reading import TIMEOUT_S, DeadLetterError


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come: it has handled what is before the offset of each partition.

    Attributes:
        note: text that the replay kept with its offsets: its selection of dead letters.
    """

    note: str
    offsets: Mapping[int, int]


def replays(config: Mapping[str, Any], topic: str, groups: Iterable[str]) -> list[Progress]:
    """The progress of all replays of a topic, including those of these groups.

    Raises:
        DeadLetterError: Kafka cannot be asked.
    """
    admin = make_client(AdminClient, config)
    try:
        listed = admin.list_consumer_groups(request_timeout=TIMEOUT_S).result().valid
        names = {one.group_id for one in listed}
        wanted = {name for name in names if name.startswith(group_prefix(topic))}
        wanted |= names & set(groups)
        return [_progress(_committed(config, topic, name), name) for name in sorted(wanted)]
    except KafkaException as error:
        raise DeadLetterError(reason(error)) from None


def _committed(config: Mapping[str, Any], topic: str, group: str) -> list[TopicPartition]:
    """Asked of a consumer: the admin client crashes at a broker that is not the coordinator."""
    consumer = make_client(Consumer, {**config, "group.id": group, "enable.auto.commit": False})
    try:
        known = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
        places = consumer.committed([TopicPartition(topic, one) for one in known], TIMEOUT_S)
    finally:
        consumer.close()
    if problem := next((one.error for one in places if one.error is not None), None):
        raise KafkaException(problem)
    return places


def _progress(committed: Iterable[TopicPartition], group: str) -> Progress:
    ours = [one for one in committed if one.offset >= 0]
    note = next((one.metadata for one in ours if one.metadata), group)
    return Progress(note, {one.partition: one.offset for one in ours})


def group_prefix(topic: str) -> str:
    """The beginning of the names of the groups that remember which dead letters were sent again."""
    return f"dead-letters-replay-{topic}-"
