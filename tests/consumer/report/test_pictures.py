import base64
import io

import numpy as np
import pytest
from confluent_kafka import Producer
from PIL import Image

from consumer.reader import librdkafka_config
from consumer.report.pictures import SIDE, fetch_pictures, picture_of
from stack.kafka import Kafka
from tests.conftest import Topics
from wire.image import NDARRAY, encode_image
from wire.record import StoredRecord

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def encoded(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def record(value: bytes, content_type: str = "image/png", shape: str | None = None) -> StoredRecord:
    headers: list[tuple[str, bytes | None]] = [("content-type", content_type.encode())]
    if shape is not None:
        headers += [("ce_dtype", b"uint8"), ("ce_shape", shape.encode())]
    return StoredRecord(record_value=value, record_headers=headers)


def opened(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize(
    "small",
    [
        record(encoded(PIXELS, "PNG")),
        record(encoded(PIXELS, "BMP"), "application/octet-stream"),
        record(PIXELS.tobytes(), NDARRAY, "32,32,3"),
    ],
    ids=["PNG", "BMP", "raw pixels"],
)
def test_a_small_image_is_shown_to_the_pixel(small: StoredRecord) -> None:
    uri = picture_of(small)
    assert uri is not None
    assert uri.startswith("data:image/png;base64,")
    assert np.array_equal(np.asarray(opened(uri)), PIXELS)


def test_raw_pixels_of_one_channel_are_shown_grey() -> None:
    shown = np.asarray(opened(picture_of(record(PIXELS[:, :, 0].tobytes(), NDARRAY, "32,32,1"))))
    assert np.array_equal(shown, PIXELS[:, :, 0])


def test_a_large_image_is_made_small() -> None:
    large = np.zeros((1200, 2400, 3), np.uint8)
    uri = picture_of(record(encoded(large, "JPEG"), "image/jpeg"))
    assert uri is not None
    assert len(uri) < 20_000
    assert opened(uri).size == (SIDE, SIDE // 2)


@pytest.mark.parametrize(
    "bad",
    [
        record(b""),
        record(b"<svg onload=alert(1)>", "image/svg+xml"),
        record(encoded(PIXELS, "PNG")[:80]),
        record(encoded(PIXELS, "GIF"), "image/gif"),
        record(encoded(np.zeros((10_000, 6_000, 3), np.uint8), "PNG")),
        record(b"xx", NDARRAY, "32,32,3"),
        record(b"x", NDARRAY, "1"),
        StoredRecord(record_value=PIXELS.tobytes(), record_headers=[("ce_time", b"yesterday")]),
    ],
    ids=["empty", "SVG", "truncated", "GIF", "bomb", "short", "flat", "envelope"],
)
def test_what_is_no_image_or_too_large_has_no_picture(bad: StoredRecord) -> None:
    assert picture_of(bad) is None


def test_images_are_read_again_from_where_they_lie(kafka: Kafka, topics: Topics) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(40):
        out = encode_image(
            id=str(number), value=encoded(np.full((8, 8, 3), number, np.uint8), "PNG"),
            content_type="image/png", source="/test", intended_ns=0, sent_ns=0,
        )  # fmt: skip
        producer.produce(
            topics.images, out.value, out.key, headers=list(out.headers), partition=number % 4
        )
    assert producer.flush(60) == 0
    config = librdkafka_config(kafka.bootstrap, {})
    places = [(number % 4, number // 4) for number in (0, 39, 17, 5, 13)]
    found = fetch_pictures(config, topics.images, [*places, (1, 10_000)])
    assert found.keys() == set(places)
    for (partition, offset), uri in found.items():
        assert np.asarray(opened(uri)).max() == offset * 4 + partition
    assert fetch_pictures(config, topics.images, []) == {}
