"""The bridge's load on Kafka without the bridge: reads images, writes answers, at a given rate."""

import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from confluent_kafka import Consumer, Producer

from benchmarks.programs.common import kafka_parser, producer_config, stop_on_signal

ANSWER = b"x" * 480
"""As long as a prediction with its headers."""
SLICE_S = 0.05


def main() -> None:
    parser = kafka_parser(__doc__)
    parser.add_argument("--rate", type=float, required=True, help="images/s")
    options = parser.parse_args()

    stop = stop_on_signal()
    consumer = Consumer(
        {"bootstrap.servers": options.brokers, "group.id": options.group,
         "auto.offset.reset": "earliest", "queued.max.messages.kbytes": 32 * 1024}
    )  # fmt: skip
    producer = Producer(producer_config(options.brokers))
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
