"""The bridge's load on Kafka without the bridge: reads images with their headers, writes answers.

At a given rate it stands for the bridge beside a load straight at Triton. As fast as it can, it is
what Kafka's client alone costs in Python, whatever is done with the images.
"""

import time
from threading import Event

from confluent_kafka import Consumer, KafkaError, Message, Producer

from benchmarks.programs.common import kafka_parser, producer_config, stop_on_signal

ANSWER = b"x" * 300
"""As long as a prediction's JSON."""
HEADERS: list[tuple[str, str | bytes | None]] = [
    ("ce_specversion", b"1.0"),
    ("ce_source", b"bridge/host/1234"),
    ("ce_type", b"triton-kafka-bridge.prediction.v1"),
    ("ce_time", b"2026-01-31T12:00:00.000001Z"),
    ("content-type", b"application/json"),
    ("ce_id", b"b123456"),
]
FETCH = 256
SLICE_S = 0.05


def main() -> None:
    parser = kafka_parser(__doc__)
    parser.add_argument("--rate", type=float, help="images/s; left out: as many as it can")
    options = parser.parse_args()

    stop = stop_on_signal()
    consumer = Consumer(
        {"bootstrap.servers": options.brokers, "group.id": options.group,
         "auto.offset.reset": "earliest", "queued.max.messages.kbytes": 32 * 1024,
         "fetch.queue.backoff.ms": 10}
    )  # fmt: skip
    producer = Producer(producer_config(options.brokers))
    consumer.subscribe([options.source])
    start, done = time.monotonic(), 0
    while not stop.is_set():
        rate = options.rate
        due = FETCH if rate is None else int((time.monotonic() - start) * rate) - done
        if due > 0:
            messages = consumer.consume(min(due, FETCH), SLICE_S)
            for message in messages:
                if message.error() is None:
                    pass_on(producer, options.target, message, stop)
            done += len(messages)
        producer.poll(0)
        if rate is not None:
            stop.wait(SLICE_S)
    producer.flush(5)
    consumer.close()


def pass_on(producer: Producer, target: str, message: Message, stop: Event) -> None:
    """For each image, read what the bridge reads, and write as much as it writes."""
    message.headers(), message.value(), message.timestamp()
    while not stop.is_set():
        try:
            producer.produce(
                target, ANSWER, message.key(), headers=HEADERS, on_delivery=acknowledged
            )
            return
        except BufferError:
            producer.poll(SLICE_S)


def acknowledged(_error: KafkaError | None, _message: Message) -> None:
    pass


if __name__ == "__main__":
    main()
