"""The servers that one section of the benchmark shares, and topics full of images."""

import base64
import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import tritonclient.grpc as grpcclient
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.models import write_null_model
from consumer.triton import ModelCounters, read_counters
from producer.encoding import EncodedImage, Encoding
from producer.sources import CIFAR10_FILE, cifar10
from stack.errors import StackError
from stack.kafka import Kafka
from stack.paths import ROOT, STACKS
from stack.topics import create_topics
from stack.triton import Triton
from wire.image import encode_image

MODEL = "resnet20_cifar10"
IMAGES = CIFAR10_FILE
PARTITIONS = 4


class Rig:
    """Kafka and Triton, and scratch; all of it ends with the context.

    Args:
        device: auto, cpu or cuda, as the exporter takes it.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.directory = STACKS / f"bench-{uuid.uuid4().hex[:8]}"
        self.repository = self.directory / "models"
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self._export()
            write_null_model(self.repository)
            self.kafka = Kafka(self.directory / "kafka")
            self.triton = Triton(self.repository, self.directory / "triton")
            for service in (self.kafka, self.triton):
                undo.callback(service.stop)
                service.launch()
            for service in (self.kafka, self.triton):
                service.wait_ready()
            self._running = undo.pop_all()
        with grpcclient.InferenceServerClient(self.triton.grpc) as client:
            config = client.get_model_config(MODEL, as_json=True)["config"]
        self.max_batch = int(config["max_batch_size"])
        self.instances = sum(int(group.get("count", 1)) for group in config["instance_group"])
        return self

    def __exit__(self, *error: object) -> None:
        self._running.__exit__(None, None, None)

    @property
    def model_file(self) -> Path:
        return self.repository / MODEL / "1" / "model.pt"

    @property
    def torch_device(self) -> str:
        return "cuda" if self.device == "cuda" else "cpu"

    def _export(self) -> None:
        # Kept between runs: an export that was done before writes nothing.
        kept = STACKS / f"bench-models-{self.device}"
        command = [
            sys.executable, str(ROOT / "scripts/export_model.py"), MODEL, "--backend", "python",
            "--repository", str(kept), "--device", self.device,
        ]  # fmt: skip
        if self.device == "cuda":
            command += ["--max-batch-size", "256"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode != 0:
            raise StackError(f"the model could not be exported\n{done.stderr}")
        shutil.copytree(kept, self.repository)

    def topic(self, name: str, partitions: int = PARTITIONS) -> str:
        """A new topic; the broker stamps its records, so that a rate needs no one else's clock."""
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        create_topics(
            self.kafka.bootstrap,
            {unique: partitions},
            {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"},
        )
        return unique

    def backlog(self, count: int, encoding: Encoding) -> str:
        """A topic with `count` images in it; the 1,000 shipped ones over and over."""
        topic = self.topic(f"backlog-{encoding.value}")
        self.fill(topic, image_records(cifar10(encoding), count))
        return topic

    def fill(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes, list[tuple[str, Any]]]]
    ) -> None:
        """Produce (key, value, headers), and wait until the broker has them all."""
        producer = Producer(
            {"bootstrap.servers": self.kafka.bootstrap, "linger.ms": 20,
             "queue.buffering.max.messages": 100_000}
        )  # fmt: skip
        for key, value, headers in records:
            while True:
                try:
                    producer.produce(topic, value, key, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        if producer.flush(120):
            raise StackError(f"topic {topic} could not be filled")

    def counters(self, model: str) -> ModelCounters:
        """Triton's counters of one model."""
        return read_counters(self.triton.grpc)[model, "1"]

    def ends(self, topic: str) -> int:
        """Records (and transaction markers) in a topic."""
        with_consumer = self._reader()
        try:
            partitions = with_consumer.list_topics(topic, timeout=10).topics[topic].partitions
            return sum(
                with_consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1]
                for p in partitions
            )
        finally:
            with_consumer.close()

    def append_times(self, topic: str) -> list[int]:
        """When the broker appended each (committed) record of a topic; epoch milliseconds."""
        consumer = self._reader()
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
            open_partitions = set(partitions)
            times: list[int] = []
            while open_partitions:
                for message in consumer.consume(5000, 1.0):
                    error = message.error()
                    if error is not None:
                        open_partitions.discard(message.partition() or 0)
                        continue
                    times.append(message.timestamp()[1])
            return times
        finally:
            consumer.close()

    def _reader(self) -> Consumer:
        return Consumer(
            {"bootstrap.servers": self.kafka.bootstrap, "group.id": "bench-reader",
             "enable.auto.commit": False, "enable.partition.eof": True,
             "isolation.level": "read_committed"}
        )  # fmt: skip


def image_records(
    images: list[EncodedImage], count: int
) -> Iterator[tuple[bytes | None, bytes, list[tuple[str, Any]]]]:
    """Records as the project's producer sends them."""
    now = time.time_ns()
    for index in range(count):
        image = images[index % len(images)]
        record = encode_image(
            id=f"b{index}", value=image.value, content_type=image.content_type, source="bench",
            intended_ns=now, sent_ns=now, dtype=image.dtype, shape=image.shape,
        )  # fmt: skip
        yield record.key, image.value, list(record.headers)


def mlserver_records(
    images: list[EncodedImage], count: int, model: str
) -> Iterator[tuple[bytes | None, bytes, list[tuple[str, Any]]]]:
    """Records as MLServer wants them: a JSON inference request, the image in base64."""
    headers: list[tuple[str, Any]] = [("mlserver-model", model.encode())]
    for index in range(count):
        text = base64.b64encode(images[index % len(images)].value).decode()
        body = {"inputs": [{"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}
        yield f"b{index}".encode(), json.dumps(body).encode(), headers
