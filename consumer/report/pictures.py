"""Reads a few images of a run from their topic once more, and makes them small."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from imaging.rules import ImageError
from imaging.thumbnail import thumbnail
from wire.record import ContractError, KafkaRecord
from wire.wrappings.unwrap import read_image

SECONDS = 10.0
"""Seconds for fetching all pictures: a report without pictures is better than one that never
comes."""
SIDE = 144
"""Longest side of a picture, in pixels."""
EXACT_SIDE = 64
"""Longest side in pixels up to which an image keeps its size; a larger one is scaled down."""
FETCH_BYTES = 1 << 16
"""Bytes that are fetched of a partition at a time: records after an image are not needed. A larger
image still comes whole."""


def fetch_pictures(
    config: Mapping[str, Any], topic: str, places: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], str]:
    """Data URIs by (partition, offset).

    Images that are gone, are no images or do not come in time are left out.

    Args:
        config: librdkafka options.
        topic: the images' topic.
        places: partition and offset of each image.
    """
    wanted = sorted(places)
    if not wanted:
        return {}
    consumer = Consumer(
        {
            **config,
            "queued.min.messages": 1,
            "max.partition.fetch.bytes": FETCH_BYTES,
            "fetch.wait.max.ms": 50,
        }
    )
    found = {}
    deadline = time.monotonic() + SECONDS
    try:
        for partition, offset in wanted:
            record = _record(consumer, TopicPartition(topic, partition, offset), deadline)
            picture = None if record is None else picture_of(record)
            if picture is not None:
                found[partition, offset] = picture
    except KafkaException:
        pass  # the remaining pictures are left out
    finally:
        consumer.close()
    return found


def picture_of(record: KafkaRecord) -> str | None:
    """A small picture of the record's image, as a data URI; None: there is no picture."""
    try:
        event, value = read_image(record)
        made = thumbnail(
            value, event.content_type, event.dtype, event.shape,
            side=SIDE, exact_side=EXACT_SIDE,
        )  # fmt: skip
    except (ContractError, ImageError):
        return None
    return made.data_uri


def _record(consumer: Consumer, place: TopicPartition, deadline: float) -> KafkaRecord | None:
    consumer.assign([place])
    while (left := deadline - time.monotonic()) > 0:
        message = consumer.poll(left)
        if message is None:
            return None
        if message.error() is not None:
            # A broker that is away for a moment comes back; an offset that is gone never does.
            if message.partition() == place.partition:
                return None
            continue
        offset = message.offset()
        if message.partition() == place.partition and offset is not None:
            if offset == place.offset:
                return message
            if offset > place.offset:
                return None
    return None
