"""Images that keep flowing while something breaks."""

import time
from collections.abc import Mapping, Sequence
from threading import Event, Thread
from typing import Any, cast

from confluent_kafka import KafkaError, Message, Producer

from producer.encoding import Encoding
from producer.sources import cifar10
from tests.kafka_client import send
from wire.image import encode_image
from wire.record import Outgoing

RATE = 500
"""Images/s: well below what the model does on two cores, so that a backlog is the fault's doing."""


class Load:
    """A thread that sends real images at a steady rate until it is told that the fault is over.

    A context manager. `ids` are those sent so far.

    Args:
        references: URLs of objects that hold the images, in turn; none: the messages hold them.
    """

    def __init__(
        self,
        brokers: str,
        topic: str,
        rate: float = RATE,
        encoding: Encoding = Encoding.RAW,
        references: Sequence[str] = (),
    ) -> None:
        self._references = references
        self.ids: list[str] = []
        self._brokers = brokers
        self._topic = topic
        self._rate = rate
        self._images = cifar10(encoding)
        self._stop = Event()
        self._errors: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "message.timeout.ms": 0,  # a broker that is away is waited for
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 500,
            }
        )
        self._thread = Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def finish(self, count: int) -> list[str]:
        """Stop the steady flow, send the rest up to `count` at once, and wait for every ack."""
        self._stop.set()
        self._thread.join()
        while len(self.ids) < count:
            self._send_one()
        assert self._producer.flush(120) == 0, "the broker does not take what is sent"
        assert not self._errors, self._errors[0]
        return self.ids

    def send(self, records: Mapping[str, Outgoing]) -> None:
        """Send these, by their ids, among the others, and wait for every ack."""
        send(self._brokers, self._topic, records.values())
        self.ids.extend(records)

    def _run(self) -> None:
        started, sent = time.monotonic(), 0
        while not self._stop.wait(0.01):
            due = int((time.monotonic() - started) * self._rate)
            while sent < due and not self._stop.is_set():
                self._send_one()
                sent += 1

    def _send_one(self) -> None:
        number = len(self.ids)
        image = self._images[number % len(self._images)]
        now = time.time_ns()
        url = self._references[number % len(self._references)] if self._references else None
        record = encode_image(
            id=f"image-{number}", value=None if url else image.value, dataref=url,
            content_type=image.content_type,
            source="faults", intended_ns=now, sent_ns=now, label=image.label, dtype=image.dtype,
            shape=image.shape,
        )  # fmt: skip
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    record.value,
                    record.key,
                    headers=cast("Any", record.headers),
                    on_delivery=self._acknowledged,
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
        self.ids.append(f"image-{number}")

    def _acknowledged(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._errors.append(error)
