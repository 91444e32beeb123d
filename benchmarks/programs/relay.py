"""The bridge's load on Kafka without the bridge: reads images, writes answers, at a given rate."""

import argparse
import signal
import time
from threading import Event
from typing import Any

from confluent_kafka import Consumer, Producer

ANSWER = b"x" * 480
"""As long as a prediction with its headers."""
SLICE_S = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--rate", type=float, required=True, help="images/s")
    options = parser.parse_args()

    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    common: dict[str, Any] = {"bootstrap.servers": options.brokers}
    consumer = Consumer(
        {**common, "group.id": options.group, "auto.offset.reset": "earliest",
         "queued.max.messages.kbytes": 32 * 1024}
    )  # fmt: skip
    producer = Producer(
        {**common, "enable.idempotence": True, "linger.ms": 0.5, "compression.type": "lz4"}
    )
    consumer.subscribe([options.source])
    start, done = time.monotonic(), 0
    while not stop.is_set():
        due = int((time.monotonic() - start) * options.rate) - done
        if due > 0:
            messages = consumer.consume(min(due, 256), SLICE_S)
            for message in messages:
                producer.produce(options.target, ANSWER, message.key())
            done += len(messages)
        producer.poll(0)
        stop.wait(SLICE_S)
    producer.flush(5)
    consumer.close()


if __name__ == "__main__":
    main()
