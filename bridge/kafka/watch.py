"""Observes the consumer for the intake: its group, errors, lag, and images that are gone."""

from collections.abc import Iterable

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bridge.images import Publication
from bridge.kafka.assignment import Assignment
from bridge.kafka.group import read_model
from bridge.kafka.identity import TopicIdentity
from bridge.kafka.membership import Key, Membership
from bridge.kafka.statistics import Statistics
from bridge.metrics import Metrics
from cli.clients import KafkaSettingError

log = structlog.get_logger()

NOBODYS = 2**31 - 1
"""Number of a partition that does not exist. A question about a real one could wait for the end of
a transaction, which would delay the group's answer."""
ASK_TIMEOUT_S = 2.0
"""Bound in seconds on a question to the group's coordinator, which usually takes 1 ms."""


class Watch:
    """Everything is for the intake's thread, except `problem`, which any thread may read.

    Args:
        consumer: asked for committed offsets and watermarks.
        model: the model that this bridge serves.
        identity: finds out whether the topic is still the same one; None: nobody asks.
    """

    def __init__(
        self,
        consumer: Consumer,
        membership: Membership,
        assignment: Assignment[Publication],
        metrics: Metrics,
        *,
        topic: str,
        model: str,
        identity: TopicIdentity | None = None,
    ) -> None:
        self._consumer = consumer
        self._membership = membership
        self._assignment = assignment
        self._metrics = metrics
        self._topic = topic
        self._model = model
        self._identity = identity
        self._others: set[str] = set()

    @property
    def problem(self) -> str | None:
        return self._membership.problem

    def assigned(self, keys: list[Key]) -> None:
        """Note assigned partitions: where reading begins, and which model answered before."""
        found = self._committed(keys) if keys else []
        positions = {
            (one.topic, one.partition): one.offset
            for one in found
            if one.error is None and one.offset >= 0
        }
        self._membership.assigned(keys, positions)
        for model in {read_model(one.metadata) for one in found} - {None, self._model}:
            if model not in self._others:
                self._others.add(str(model))
                log.warning("group_of_another_model", model=self._model, other=model)

    def gone(self, keys: list[Key], *, lost: bool = False) -> None:
        self._membership.gone(keys, lost=lost)

    def read(self, key: Key, offset: int) -> None:
        """Note that a record was taken."""
        expected = self._membership.read(key, offset + 1)
        if expected is not None and offset > expected:
            self._gap(key, expected, offset)

    def error(self, message: Message, error: KafkaError) -> None:
        """Handle an error that the consumer handed over in place of a record.

        Raises:
            KafkaException: nothing can be read any more.
            KafkaSettingError: the same, and a restart with the same settings would not help.
        """
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error.code() == KafkaError._PARTITION_EOF:
            assert topic is not None
            assert partition is not None
            assert offset is not None
            expected = self._membership.read((topic, partition), offset)
            if expected is not None and offset > expected:
                self._gap((topic, partition), expected, offset)
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's own
            raise KafkaSettingError(
                f"auto.offset.reset=error, and Kafka has no record where partition {partition} of "
                f"{topic} is to be read on ({error.str()}): commit an offset for the group, or set "
                "earliest"
            )
        if error.fatal():
            raise KafkaException(error)
        log.warning("kafka_consumer_error", code=error.name(), error=error.str())
        self._membership.failed((topic, partition), error.code(), error.str())

    def _gap(self, key: Key, expected: int, offset: int) -> None:
        """Handle missing offsets: they are transaction markers, or records that Kafka deleted."""
        low, _ = self._consumer.get_watermark_offsets(TopicPartition(*key), cached=True)
        if low <= expected:
            return
        # Reading goes on at the first record that is left: `latest` cannot be set.
        lost = min(low, offset) - expected
        self._metrics.expired.inc(lost)
        log.warning(
            "images_lost_to_retention", topic=key[0], partition=key[1], images=lost,
            first_offset=expected, next_offset=offset,
        )  # fmt: skip

    def committed(self, error: KafkaError | None, partitions: Iterable[TopicPartition]) -> None:
        """Note the result of a commit."""
        problem = error or next((one.error for one in partitions if one.error is not None), None)
        if problem is None or problem.code() in _REFUSALS:
            self._membership.committed(None if problem is None else problem.str())

    def turn(self, *, paused: bool, emptied: bool) -> None:
        """Ask the group when there was no news for a while; called about twice a second.

        Args:
            paused: whether the intake has paused its partitions.
            emptied: whether all that Kafka's client had fetched was taken since the last turn.

        Raises:
            TopicReplacedError: the topic was deleted and created again.
        """
        if not paused and (keys := self._membership.to_try()):
            # Kafka's client reports only once that a partition cannot be read, and its recovery
            # only with the next record; after a pause it also reports the partition's end again.
            places = [TopicPartition(*key) for key in keys]
            self._consumer.pause(places)
            self._consumer.resume(places)
        self._membership.looked(paused=paused, emptied=emptied)
        if self._identity is not None:
            self._identity.check()
        if self._membership.due:
            self._committed([(self._topic, NOBODYS)])

    def _committed(self, keys: list[Key]) -> list[TopicPartition]:
        """Committed offsets with their metadata; empty where the group does not answer."""
        try:
            found = self._consumer.committed(
                [TopicPartition(*key) for key in keys], timeout=ASK_TIMEOUT_S
            )
        except KafkaException as error:
            self._membership.asked(str(error.args[0].str()))
            return []
        problem = next((one.error for one in found if one.error is not None), None)
        self._membership.asked(None if problem is None else problem.str())
        return found

    def brokers(self, *, up: bool) -> None:
        self._membership.brokers(up=up)

    def statistics(self, statistics: Statistics) -> None:
        self._membership.brokers(up=statistics.brokers_up > 0)
        self._metrics.brokers_up.set(statistics.brokers_up)
        self._metrics.tell_client("consumer", statistics)
        lags = self._membership.lags(statistics.ends, self._assignment.in_flight())
        self._metrics.lag.clear()  # the new owner of a revoked partition reports its lag
        for (_, partition), lag in lags.items():
            self._metrics.lag.labels(str(partition)).set(lag)


_REFUSALS = {
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}
"""Errors of a commit that the next commit will get, too. Errors of a rebalance pass."""
