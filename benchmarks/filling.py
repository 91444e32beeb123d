"""Fills topics with images."""

import base64
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from multiprocessing import get_context

from producer.encoding import EncodedImage
from producer.sender import Sender, SendError, librdkafka_config
from stack.errors import StackError
from wire.image import encode_image
from wire.record import Outgoing

FILL_S = 120.0
SHARE = 20_000
"""Fewest images for which a further process is started, since a start takes a second."""


def fill(bootstrap: str, topic: str, records: Iterable[Outgoing]) -> None:
    """Produce the records, and wait until the broker has them all.

    Raises:
        StackError: the broker did not take all of them.
    """
    config = librdkafka_config(bootstrap, {"linger.ms": "20"})
    try:
        sender = Sender(config, topic, queue_timeout=FILL_S, connect_timeout=FILL_S)
        for record in records:
            sender.send(record, lambda: False)
        left = sender.flush(FILL_S, lambda: False)
    except SendError as error:
        raise StackError(f"topic {topic} could not be filled: {error}") from None
    if left or sender.failed:
        reasons = ", ".join(sender.failed) or f"not acknowledged in {FILL_S:.0f} s"
        raise StackError(f"{left + sender.failed.total()} records for {topic}: {reasons}")


def fill_images(
    bootstrap: str, topic: str, images: Sequence[EncodedImage], count: int, processes: int
) -> None:
    """Produce `count` images, repeating these, with as many processes as are worth their start.

    Raises:
        StackError: the broker did not take all of them.
    """
    processes = max(1, min(processes, count // SHARE))
    if processes == 1:
        fill(bootstrap, topic, image_records(images, count))
        return
    starts = [count * part // processes for part in range(processes + 1)]
    # Not forked: a fork would leave behind the threads of this process's Kafka and gRPC clients.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = [
            pool.submit(_fill_part, bootstrap, topic, images, first, end - first)
            for first, end in pairwise(starts)
        ]
        try:
            for part in parts:
                part.result()
        except BrokenProcessPool as error:
            raise StackError(f"topic {topic} could not be filled: {error}") from None


def _fill_part(
    bootstrap: str, topic: str, images: Sequence[EncodedImage], first: int, count: int
) -> None:
    fill(bootstrap, topic, image_records(images, count, first))


def image_records(images: Sequence[EncodedImage], count: int, first: int = 0) -> Iterator[Outgoing]:
    """Records as the project's producer sends them, numbered from `first`."""
    now = time.time_ns()
    for index in range(first, first + count):
        image = images[index % len(images)]
        yield encode_image(
            id=f"b{index}", value=image.value if image.url is None else None, source="bench",
            content_type=image.content_type, dataref=image.url,
            intended_ns=now, sent_ns=now, dtype=image.dtype, shape=image.shape,
        )  # fmt: skip


def mlserver_records(images: Sequence[EncodedImage], count: int, model: str) -> Iterator[Outgoing]:
    """Records as MLServer needs them: a JSON inference request, the image in base64."""
    headers: list[tuple[str, bytes | None]] = [("mlserver-model", model.encode())]
    for index in range(count):
        text = base64.b64encode(images[index % len(images)].value).decode()
        body = {"inputs": [{"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}
        yield Outgoing(f"b{index}".encode(), json.dumps(body).encode(), headers)
