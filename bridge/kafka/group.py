"""The consumer group in Kafka: its members, its offsets and the model that its offsets name."""

from typing import NamedTuple

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from bridge.config import Settings
from bridge.kafka.clients import make_admin

MODEL = "model="
ADMIN_TIMEOUT_S = 5.0


def commit_metadata(model: str) -> str:
    """The metadata of each committed offset: it names the model that answers the group's images."""
    return MODEL + model


def read_model(metadata: str | None) -> str | None:
    """The model that a committed offset names; None where it names none."""
    if metadata is None or not metadata.startswith(MODEL):
        return None
    return metadata.removeprefix(MODEL)


class GroupState(NamedTuple):
    """The present state of a group.

    Attributes:
        models: models that its committed offsets of the images topic name.
        begun: whether it has such an offset.
    """

    members: int
    models: set[str]
    begun: bool

    def others(self, model: str) -> list[str]:
        """Other models by which the group's members answer now; empty without members."""
        return sorted(self.models - {model}) if self.members else []


def read_group(settings: Settings, consumer: Consumer) -> GroupState:
    """Ask for the group's state without joining it; empty where that cannot be learnt.

    Args:
        consumer: of the group, not subscribed. It is asked for the offsets, because librdkafka's
            admin client crashes when a broker answers that it is not the group's coordinator, as
            in the first seconds of a new cluster (librdkafka issue 5040).
    """
    topic = settings.images_topic
    admin = make_admin(settings)
    described = admin.describe_consumer_groups([settings.group], request_timeout=ADMIN_TIMEOUT_S)
    try:
        numbers = consumer.list_topics(topic, timeout=ADMIN_TIMEOUT_S).topics[topic].partitions
        wanted = [TopicPartition(topic, number) for number in numbers]
        places = consumer.committed(wanted, timeout=ADMIN_TIMEOUT_S)
        members = described[settings.group].result(2 * ADMIN_TIMEOUT_S).members
    except (KafkaException, TimeoutError):
        return GroupState(0, set(), begun=True)
    if any(one.error is not None for one in places):
        return GroupState(0, set(), begun=True)
    ours = [one for one in places if one.offset >= 0]
    found = (read_model(one.metadata) for one in ours)
    return GroupState(len(members), {model for model in found if model is not None}, bool(ours))


def begin_at_ends(settings: Settings, consumer: Consumer) -> int:
    """Commit the end of each partition for a group without members; returns their number.

    `auto.offset.reset=latest` would move to the end whenever a partition has no offset, also after
    a rebalance, and so skip images that came meanwhile.

    Raises:
        KafkaException: Kafka refuses the offsets, perhaps because the group has a member now.
    """
    topic = settings.images_topic
    numbers = consumer.list_topics(topic, timeout=ADMIN_TIMEOUT_S).topics[topic].partitions
    places = []
    for number in numbers:
        place = TopicPartition(topic, number)
        place.offset = consumer.get_watermark_offsets(place, timeout=ADMIN_TIMEOUT_S)[1]
        places.append(place)
    admin = make_admin(settings)
    wanted = ConsumerGroupTopicPartitions(settings.group, places)
    altered = admin.alter_consumer_group_offsets([wanted], request_timeout=ADMIN_TIMEOUT_S)
    for one in altered[settings.group].result(2 * ADMIN_TIMEOUT_S).topic_partitions:
        if one.error is not None:
            raise KafkaException(one.error)
    return len(places)
