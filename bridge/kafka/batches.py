"""Finds where a batch ends that Kafka's client cannot decompress. Its error says only where the
batch begins, and without a seek the client asks for the same batch for ever."""

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

SEARCH_S = 20.0
"""Bound in seconds on a search, which usually takes one: the caller reads nothing meanwhile."""


def after_batch(make: Callable[[], Consumer], topic: str, partition: int, offset: int) -> int:
    """The offset after the batch that begins at `offset`, found by halving.

    Args:
        make: makes a consumer that is in no group.

    Raises:
        KafkaException: Kafka does not answer in time.
    """
    deadline = time.monotonic() + SEARCH_S
    consumer = make()

    def within(place: int) -> bool:
        return _begins_at(consumer, TopicPartition(topic, partition, place), offset, deadline)

    try:
        end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=SEARCH_S)[1]
        inside, after = offset, offset + 1
        while after < end and within(after):
            inside, after = after, min(end, after + 2 * (after - offset))
        while after - inside > 1:
            middle = (inside + after) // 2
            if within(middle):
                inside = middle
            else:
                after = middle
        return after
    finally:
        consumer.close()


def _begins_at(consumer: Consumer, place: TopicPartition, offset: int, deadline: float) -> bool:
    """Whether `place` is in the batch that begins at `offset` and cannot be decompressed."""
    consumer.assign([place])
    message = consumer.poll(max(0.0, deadline - time.monotonic()))
    if message is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    error = message.error()
    if error is None or error.code() == KafkaError._PARTITION_EOF:
        return False
    if error.code() != KafkaError._BAD_COMPRESSION:  # noqa: SLF001
        raise KafkaException(error)
    return message.offset() == offset
