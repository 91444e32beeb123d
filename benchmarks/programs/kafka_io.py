"""The loop of NVIDIA's example kafka-io: poll, infer and wait on a thread, hand over, produce.

The example runs Triton in the same process, by a Python package that is only in NVIDIA's images;
here the same Triton is asked through gRPC. Images go one by one, and offsets are committed by
Kafka's client on its own: an image that was in flight is lost with the process.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread

from confluent_kafka import Consumer, Producer

from benchmarks.programs.common import kafka_parser, stop_on_signal
from benchmarks.programs.triton_client import TritonClassifier

IDLE_S = 0.001


def main() -> None:
    parser = kafka_parser(__doc__)
    parser.add_argument("--triton", required=True)
    parser.add_argument("--model", required=True)
    options = parser.parse_args()
    stop = stop_on_signal()
    classifier = TritonClassifier(options.triton, options.model)
    answered: deque[tuple[bytes, bytes]] = deque()

    def produce() -> None:
        producer = Producer({"bootstrap.servers": options.brokers})
        while not stop.is_set():
            while answered:
                key, value = answered.popleft()
                producer.produce(options.target, value, key)
            producer.poll(0)
            stop.wait(IDLE_S)
        producer.flush(5)

    Thread(target=produce).start()
    consumer = Consumer(
        {"bootstrap.servers": options.brokers, "group.id": options.group,
         "auto.offset.reset": "earliest"}
    )  # fmt: skip
    consumer.subscribe([options.source])
    while not stop.is_set():
        message = consumer.poll(0.1)
        if message is None or message.error() is not None:
            continue
        key, value = message.key() or b"", message.value() or b""

        def hand_over(done: "Future[list[bytes]]", key: bytes = key) -> None:
            answered.append((key, done.result()[0]))

        # As in the example, a pool for each message, which ends with its answer.
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(classifier.answers, [value]).add_done_callback(hand_over)
    consumer.close()


if __name__ == "__main__":
    main()
