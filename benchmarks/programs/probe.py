"""Latency of single images at a given rate (open loop): through Kafka, or straight at Triton.

Each latency counts from the time at which the image was due, so that a sender that falls behind
makes latencies longer, not fewer.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from heapq import nlargest
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks.programs.common import TOP_K
from consumer.measuring.statistics import STAGES
from wire.image import NDARRAY, encode_image
from wire.prediction import decode_prediction
from wire.record import ContractError, raw_bytes

SPIN_S = 0.0005
FIRST_ANSWER_S = 120.0
FLUSH_S = 10.0
READ = 64
WARM_EVERY_S = 0.01
AHEAD = 160
"""First images without an answer at most: enough for windows of 32 on each of four partitions."""
Stamps = Mapping[str, int]
"""Epoch nanoseconds by the name of what happened."""
NEVER_OLD_NS = 3600 * 10**9
"""The first images are due that much later: however long the bridge takes to start, they do not
expire."""
SLOWEST = 0.01
"""Share of the answers whose stages are told: those that make p99 what it is."""


class Clock:
    """Due times, and latencies from them, in milliseconds.

    Attributes:
        waits: of images in the bridge, from decoded to requested.
        slowest: milliseconds of each of `STAGES` for the slowest images.
        lateness: of each image's sending after its due time, in milliseconds.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._start = time.monotonic() + 0.5
        self.latencies: dict[int, float] = {}
        self.waits: list[float] = []
        self.slowest: list[list[float]] = []
        self.lateness: list[float] = []

    def due(self, index: int) -> float:
        return self._start + index / self._rate

    def wait(self, index: int) -> None:
        left = self.due(index) - time.monotonic()
        if left > 0:
            time.sleep(left)
        self.lateness.append((time.monotonic() - self.due(index)) * 1e3)

    def answered(self, index: int) -> None:
        self.latencies.setdefault(index, (time.monotonic() - self.due(index)) * 1e3)


def through_kafka(options: argparse.Namespace, pixels: Any) -> Clock:
    producer = Producer(
        {"bootstrap.servers": options.brokers, "linger.ms": 0, "enable.idempotence": True}
    )
    consumer = Consumer({"bootstrap.servers": options.brokers, "group.id": f"probe-{options.name}",
                         "enable.auto.commit": False, "fetch.error.backoff.ms": 20})  # fmt: skip
    partitions = consumer.list_topics(options.target).topics[options.target].partitions
    ends = [
        TopicPartition(options.target, p, consumer.get_watermark_offsets(
            TopicPartition(options.target, p))[1])
        for p in partitions
    ]  # fmt: skip
    consumer.assign(ends)
    stop = Event()
    # The first images open connections; they are sent and answered before the clock starts.
    warm = _send_warm(producer, consumer, options, pixels)
    if not warm:
        raise SystemExit("no answer to the first images")
    clock = Clock(options.rate)

    answers: list[tuple[Message, int]] = []
    # Others may send to the same topics: an answer is taken by whoever sent its image.
    prefix = f"{options.name}p".encode()

    def read() -> None:
        while not stop.is_set():
            first = consumer.poll(0.1)
            if first is None:
                continue
            # What else is there already; nothing is waited for, since that would be latency.
            messages = (first, *consumer.consume(READ, 0))
            consumed_ns = time.time_ns()
            for message in messages:
                key = message.key()
                if message.error() is None and isinstance(key, bytes) and key.startswith(prefix):
                    clock.answered(int(key[len(prefix) :]))
                    answers.append((message, consumed_ns))

    reader = Thread(target=read)
    reader.start()
    count = int(options.rate * options.seconds)
    for index in range(count):
        clock.wait(index)
        late_ns = int((time.monotonic() - clock.due(index)) * 1e9)
        pixel = pixels[index % len(pixels)]
        _produce(producer, options.source, f"{options.name}p{index}", pixel, late_ns)
        producer.poll(0)
    producer.flush(FLUSH_S)
    _settle(lambda: len(clock.latencies) >= count, options.settle)
    stop.set()
    reader.join()
    consumer.close()
    stamped = list(_stamped(answers))
    clock.waits = [(stamps["requested"] - stamps["decoded"]) / 1e6 for stamps in stamped]
    clock.slowest = stages_of_slowest(stamped)
    return clock


def _stamped(answers: Iterable[tuple[Message, int]]) -> Iterator[Stamps]:
    for message, consumed_ns in answers:
        with suppress(ContractError):  # not the bridge's
            yield {**decode_prediction(message).stamps, "consumed": consumed_ns}


def stages_of_slowest(stamped: Sequence[Stamps]) -> list[list[float]]:
    """Milliseconds of each stage for the slowest hundredth of the images, but at least for one."""
    count = max(1, round(SLOWEST * len(stamped)))
    slowest = nlargest(count, stamped, key=lambda one: one["consumed"] - one["intended"])
    return [[(one[end] - one[start]) / 1e6 for _, start, end in STAGES] for one in slowest]


def _produce(producer: Producer, topic: str, id: str, pixels: Any, late_ns: int = 0) -> None:
    now = time.time_ns()
    record = encode_image(
        id=id, value=pixels.tobytes(), content_type=NDARRAY, source="probe",
        intended_ns=now - late_ns,
        sent_ns=now, dtype="uint8", shape=pixels.shape,
    )  # fmt: skip
    producer.produce(topic, record.value, record.key, headers=list(record.headers))


def _send_warm(
    producer: Producer, consumer: Consumer, options: argparse.Namespace, pixels: Any
) -> bool:
    # Whoever answers images by the dozen answers none of the first until there are enough.
    answered: set[bytes] = set()
    prefix = f"{options.name}w".encode()
    deadline = time.monotonic() + FIRST_ANSWER_S
    sent = 0
    while len(answered) < options.warm and time.monotonic() < deadline:
        if sent < len(answered) + AHEAD:
            image = pixels[sent % len(pixels)]
            _produce(producer, options.source, f"{options.name}w{sent}", image, -NEVER_OLD_NS)
            sent += 1
        for message in consumer.consume(READ, WARM_EVERY_S):
            key: bytes = raw_bytes(message.key()) if message.error() is None else b""
            if key.startswith(prefix):
                answered.add(key)
    producer.flush(FLUSH_S)
    return bool(len(answered) >= options.warm)


def straight(options: argparse.Namespace, pixels: Any) -> Clock:
    output = triton.InferRequestedOutput("OUTPUT__0", class_count=TOP_K)
    tensors = []
    for one in pixels[:256]:
        tensor = triton.InferInput("INPUT__0", (1, *one.shape), "UINT8")
        tensor.set_data_from_numpy(np.ascontiguousarray(one[None]))
        tensors.append(tensor)
    with triton.InferenceServerClient(options.triton) as client:
        for tensor in tensors[: options.warm]:
            client.infer(options.model, [tensor], outputs=[output])
        clock = Clock(options.rate)
        failures: list[str] = []

        def callback(index: int) -> Callable[[Any, Exception | None], None]:
            def answered(result: Any, error: Exception | None) -> None:  # noqa: ARG001 - by name
                if error is None:
                    clock.answered(index)
                else:
                    failures.append(str(error))

            return answered

        count = int(options.rate * options.seconds)
        for index in range(count):
            clock.wait(index)
            tensor = tensors[index % len(tensors)]
            client.async_infer(options.model, [tensor], callback(index), outputs=[output])
        _settle(lambda: len(clock.latencies) + len(failures) >= count, options.settle)
    if failures:
        raise SystemExit(f"Triton: {failures[0]}")
    return clock


def _settle(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(SPIN_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="an .npz with `images`")
    parser.add_argument("--rate", type=float, required=True, help="images/s")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm", type=int, required=True, help="images that come first")
    parser.add_argument("--settle", type=float, default=10.0, help="seconds for the last answers")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--name", default="", help="of this probe among several on one topic")
    parser.add_argument("--brokers")
    parser.add_argument("--source")
    parser.add_argument("--target")
    parser.add_argument("--triton")
    parser.add_argument("--model")
    options = parser.parse_args()
    with np.load(options.images) as data:
        pixels = data["images"]
    # A pause of this collector would be taken for one of the subject.
    gc.disable()
    clock = through_kafka(options, pixels) if options.brokers else straight(options, pixels)
    count = int(options.rate * options.seconds)
    latencies = [clock.latencies[i] for i in sorted(clock.latencies)]
    result = {
        "sent": count,
        "answered": len(latencies),
        "latencies_ms": latencies,
        "waits_ms": clock.waits,
        "lateness_ms": clock.lateness,
        "slowest_ms": clock.slowest,
    }
    options.output.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
