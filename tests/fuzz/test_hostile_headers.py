"""Images that are small and have large headers: what they take in memory stays within the bound."""

import os
from collections.abc import Sequence

import pytest

from producer.encoding import EncodedImage, Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.triton import Triton
from tests.bridge.answers import as_record, as_records
from tests.bridge.conftest import StartBridge
from tests.conftest import Topics
from tests.faults.trial import answered
from tests.kafka_client import send
from tests.memory import resident_kib
from tests.waiting import eventually
from wire.record import Outgoing

pytestmark = pytest.mark.slow

IMAGES = min(4000, int(os.environ.get("FUZZ_INPUTS", "1500")) // 5)
WARM = 200
HEADER_BYTES = 200_000
BOUND = 32 << 20
QUEUE = 32 << 20
"""What Kafka's client holds before the bridge has it (`queued.max.messages.kbytes`), as it came."""
ALLOCATOR = 64 << 20
"""Memory that was freed and not given back: responses of Kafka, the copies that each record is read
from, and a list of thousands of headers at a time; in many sizes, so that it is kept in pieces."""
SHAPES = (1, 200, 8000)
"""Headers of an image: one that is long, or many. Of many small ones, what holds them in Python is
ten times what they say: were it not counted, the images here would take several times the bound."""


def hostile(images: Sequence[EncodedImage], number: int) -> Outgoing:
    image = as_record(images[number % 100], f"hostile-{number}")
    count = SHAPES[number % len(SHAPES)]
    text = b"x" * (HEADER_BYTES // count - 6)
    return image._replace(
        headers=[*image.headers, *((f"h{place}", text) for place in range(count))]
    )


def test_small_images_with_large_headers_stay_within_the_memory_bound(
    kafka: Kafka, triton: Triton, topics: Topics, start_bridge: StartBridge
) -> None:
    bridge = start_bridge(max_buffered_bytes=str(BOUND))
    images = cifar10(Encoding.RAW)
    send(kafka.bootstrap, topics.images, as_records(images, WARM))
    eventually(lambda: answered(bridge) == WARM, "the first images being answered")
    before, peak, most = resident_kib(bridge.pid), 0, 0.0

    def watch() -> dict[str, float]:
        nonlocal peak, most
        peak = max(peak, resident_kib(bridge.pid))
        metrics = bridge.metrics()
        most = max(most, metrics["bridge_images_in_flight_bytes"])
        return metrics

    triton.pause()  # so that all that may be is in flight at a time
    try:
        send(kafka.bootstrap, topics.images, (hostile(images, n) for n in range(IMAGES)))
        eventually(lambda: watch()["bridge_partitions_paused"] == 4, "the bridge being full")
    finally:
        triton.resume()
    done = "bridge_images_answered_total"
    eventually(
        lambda: watch()[done] == WARM + IMAGES, "all being answered", timeout_s=120 + IMAGES / 10
    )
    grown = (peak - before) << 10
    told = f"{grown >> 20} MiB more, {most / (1 << 20):.0f} of them counted"
    print(told)
    assert most > BOUND / 2, "the bound was never near"
    assert most <= 1.2 * BOUND, told
    assert grown <= BOUND + QUEUE + ALLOCATOR, told
