"""What both kinds of delivery promise: how outcomes and offsets reach Kafka."""

from collections.abc import Sequence
from typing import Protocol

from confluent_kafka import KafkaError, TopicPartition

from bridge.images import Publication, ReceivedRecord

Settled = tuple[ReceivedRecord, Publication]
"""An image and what it became."""


class DeliveryError(Exception):
    """Kafka refused a record for good; the bridge stops, and commits nothing after that record."""


class Delivery(Protocol):
    """How outcomes reach Kafka. The pipeline calls `publish` and `skip`, the intake the rest."""

    def start(self) -> None: ...

    def publish(self, settled: Sequence[Settled]) -> None:
        """Take charge of the images' predictions or dead letters; may block while Kafka is slow."""
        ...

    def skip(self, settled: Sequence[Settled]) -> None:
        """Take charge of images of which nothing is published: their offsets count all the same."""
        ...

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was published is safe and can be committed, at most `timeout_s`."""
        ...

    def commit(self, *, wait: bool) -> None:
        """Commit each partition's completed prefix; with `wait`, wait for the broker's answer."""
        ...

    def committed(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        """Note the result of a commit that was not waited for; called on the intake's thread."""
        ...

    def generation_changed(self) -> None:
        """Note that the group has rebalanced: this member's identity in the group is out of
        date."""
        ...

    @property
    def problem(self) -> str | None:
        """Why outcomes cannot be published or committed now; None when they can."""
        ...

    def close(self, *, flush: bool) -> None: ...
