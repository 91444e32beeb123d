"""How answers reach Kafka: what both ways of delivery promise."""

from collections.abc import Sequence
from typing import Protocol

from confluent_kafka import KafkaError, TopicPartition

from bridge.images import Publication, ReceivedRecord

Settled = tuple[ReceivedRecord, Publication]
"""An image, and what it became."""


class DeliveryError(Exception):
    """Kafka refused a record for good; the bridge stops, and commits nothing past it."""


class Delivery(Protocol):
    """How answers reach Kafka. `publish` is called by the pipeline, the rest by the intake."""

    def start(self) -> None: ...

    def publish(self, settled: Sequence[Settled]) -> None:
        """Take charge of images' answers or dead letters; may block while Kafka is slow."""
        ...

    def skip(self, settled: Sequence[Settled]) -> None:
        """Images of which nothing is published: their offsets count all the same."""
        ...

    def flush(self, timeout_s: float) -> None:
        """Wait until what was published is safe and can be committed, or time has run out."""
        ...

    def commit(self, *, wait: bool) -> None:
        """Commit each partition's completed prefix; with `wait`, until the broker has it."""
        ...

    def committed(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        """What became of a commit that was not waited for; called on the intake's thread."""
        ...

    def generation_changed(self) -> None:
        """The group has rebalanced: what identified this member to the group is out of date."""
        ...

    @property
    def problem(self) -> str | None:
        """Why answers cannot be published or committed just now; None when they can."""
        ...

    def close(self, *, flush: bool) -> None: ...
