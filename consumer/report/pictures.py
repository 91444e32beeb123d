"""A few images of a run, read from their topic once more and made small."""

import base64
import io
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from PIL import Image, ImageOps

from wire.image import NDARRAY, decode_image
from wire.record import ContractError, KafkaRecord, raw_bytes

SECONDS = 10.0
"""For all of them: a report without pictures is better than one that never comes."""
SIDE = 144
"""Longest side of a picture, in pixels."""
EXACT_SIDE = 64
"""Up to here an image is kept to the pixel; of a larger one an impression is enough."""
MAX_BYTES = 16 << 20
MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
FETCH_BYTES = 1 << 16
"""Of a partition at a time: what follows an image is not wanted. A larger image comes whole."""


def fetch_pictures(
    config: Mapping[str, Any], topic: str, places: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], str]:
    """Data URIs by (partition, offset).

    One that is gone from its topic, is no image or does not come in time is left out.

    Args:
        config: librdkafka options.
        topic: where the images are.
        places: partition and offset of each.
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
            picture = None if record is None else thumbnail(record)
            if picture is not None:
                found[partition, offset] = picture
    except KafkaException:
        pass  # the same as none of the rest in time
    finally:
        consumer.close()
    return found


def thumbnail(record: KafkaRecord) -> str | None:
    """A small picture of the record's image, as a data URI; None: it is not one.

    It is decoded and encoded anew: what a stranger sent is never shown as it came.
    """
    value = raw_bytes(record.value())
    if len(value) > MAX_BYTES:
        return None
    try:
        event = decode_image(record)
        if event.content_type == NDARRAY:
            pixels = _from_raw(value, event.dtype, event.shape)
            return _encoded(pixels, max(pixels.size) <= EXACT_SIDE)
        with Image.open(io.BytesIO(value), formats=FORMATS) as image:
            if math.prod(image.size) > MAX_PIXELS:
                return None
            exact = max(image.size) <= EXACT_SIDE
            image.draft("RGB", (SIDE, SIDE))
            return _encoded(ImageOps.exif_transpose(image), exact)
    except Exception:
        # Decoders raise whatever their parsing runs into; each means: this is not an image.
        return None


def _from_raw(value: bytes, dtype: str | None, shape: tuple[int, ...] | None) -> Image.Image:
    if dtype != "uint8" or shape is None or len(value) != math.prod(shape):
        raise ContractError("raw pixels are shown as uint8 [height, width, channels] only")
    pixels = np.frombuffer(value, np.uint8).reshape(shape)
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _encoded(image: Image.Image, exact: bool) -> str:
    shown = image.convert("RGB")
    shown.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    shown.save(file, "PNG" if exact else "WEBP", quality=80)
    kind = "png" if exact else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _record(consumer: Consumer, place: TopicPartition, deadline: float) -> KafkaRecord | None:
    consumer.assign([place])
    while (left := deadline - time.monotonic()) > 0:
        message = consumer.poll(left)
        if message is None:
            return None
        if message.error() is not None:
            # A broker that is away for a moment comes back; an offset that is gone does not.
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
