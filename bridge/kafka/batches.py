"""Finds where a batch ends that Kafka's client cannot decompress. Its error says only where the
batch begins, and without a seek the client asks for the same batch for ever."""

from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

ANSWER_S = 5.0
"""Bound in seconds on each question to the broker, which usually takes milliseconds."""


def after_batch(make: Callable[[], Consumer], topic: str, partition: int, offset: int) -> int:
    """The offset after the batch that begins at `offset`, found by halving.

    Args:
        make: makes a consumer that is in no group.

    Raises:
        KafkaException: Kafka does not answer.
    """
    consumer = make()
    try:
        end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_S)[1]
        inside, after = offset, offset + 1
        while after < end and _begins_at(consumer, topic, partition, after, offset):
            inside, after = after, min(end, after + 2 * (after - offset))
        while after - inside > 1:
            middle = (inside + after) // 2
            if _begins_at(consumer, topic, partition, middle, offset):
                inside = middle
            else:
                after = middle
        return after
    finally:
        consumer.close()


def _begins_at(consumer: Consumer, topic: str, partition: int, place: int, offset: int) -> bool:
    """Whether `place` is in the batch that begins at `offset` and cannot be decompressed."""
    consumer.assign([TopicPartition(topic, partition, place)])
    message = consumer.poll(ANSWER_S)
    if message is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    error = message.error()
    if error is None or error.code() == KafkaError._PARTITION_EOF:
        return False
    if error.code() != KafkaError._BAD_COMPRESSION:  # noqa: SLF001
        raise KafkaException(error)
    return message.offset() == offset
