"""The servers that one section of the benchmark shares, and topics full of images."""

import copy
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import tritonclient.grpc as grpcclient
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from benchmarks.filling import fill, fill_images
from benchmarks.gpu import Gpu
from benchmarks.models import write_null_model
from consumer.measuring.triton import ModelCounters, TritonError, read_counters
from producer.encoding import EncodedImage, Encoding
from producer.sources import CIFAR10_FILE, cifar10
from stack.cluster import KafkaCluster
from stack.errors import StackError
from stack.kafka import Kafka
from stack.paths import ROOT, STACKS
from stack.topics import create_topics
from stack.triton import Triton
from wire.record import Outgoing

MODEL = "resnet20_cifar10"
ENSEMBLE = f"{MODEL}_encoded"
"""The same network behind a decoding step."""
IMAGES = CIFAR10_FILE
CORES = len(os.sched_getaffinity(0))
PARTITIONS = max(4, CORES)
"""Enough for a bridge on each core."""
READ_S = 30.0
POLL_S = 0.1
FILLERS = max(1, min(6, CORES // 2))
"""Processes that fill a topic: one produces some 60,000 small images/s, but a GPU answers more."""


class ServerDiedError(Exception):
    """A server of the rig ended by itself, so that nothing more can be measured with it."""


class Rig:
    """Kafka, Triton and a temporary folder; the end of the context ends them all.

    Args:
        device: auto, cpu or cuda, as the exporter takes it.
        prepare: adds models to the repository, before Triton starts.
        decoding: whether Triton also has `ENSEMBLE`, with a decoder on each core.
    """

    def __init__(
        self,
        device: str,
        prepare: Callable[["Rig"], None] | None = None,
        *,
        decoding: bool = True,
    ) -> None:
        self.device = device
        self._prepare = prepare
        self._decoding = decoding
        self.directory = STACKS / f"bench-{uuid.uuid4().hex[:8]}"
        self.repository = self.directory / "models"
        self.gpu = Gpu()
        self.replicas = 1
        """Number of replicas of each topic."""
        self.kafka: Kafka | KafkaCluster
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
            if self.device == "cuda":
                undo.enter_context(self.gpu)
            self._export()
            write_null_model(self.repository)
            if self._prepare is not None:
                self._prepare(self)
            self.kafka = broker = Kafka(self.directory / "kafka")
            self.triton = Triton(self.repository, self.directory / "triton")
            for service in (broker, self.triton):
                undo.callback(service.stop)
                service.launch()
            for service in (broker, self.triton):
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
    def _brokers(self) -> list[Kafka]:
        return self.kafka.brokers if isinstance(self.kafka, KafkaCluster) else [self.kafka]

    @property
    def kafka_pids(self) -> list[int]:
        """Process id of each broker."""
        return [one.pid for one in self._brokers]

    def require_servers(self) -> None:
        """Check that the brokers and Triton run.

        Raises:
            ServerDiedError: one has died; the text ends with the end of its log.
        """
        for server in (*self._brokers, self.triton):
            try:
                server.require_alive()
            except StackError as error:
                raise ServerDiedError(str(error)) from None

    def broker_pauses(self) -> Counter[float]:
        """How often the garbage collectors of the brokers paused so far, by milliseconds."""
        return Counter(pause for one in self._brokers for pause in one.pauses_ms())

    @property
    def model_file(self) -> Path:
        return self.repository / MODEL / "1" / "model.pt"

    @property
    def torch_device(self) -> str:
        return "cuda" if self.device == "cuda" else "cpu"

    def _export(self) -> None:
        decoding = ("--ensemble", "--decoders", str(CORES)) if self._decoding else ()
        name = "models" if self._decoding else "model"
        shutil.copytree(self.export(name, *decoding), self.repository)

    def export(self, name: str, *options: str, model: str = MODEL) -> Path:
        """Export the model into a new model repository.

        Raises:
            StackError: the exporter failed; the text says why.
        """
        # Kept between runs: an export that was done before writes nothing.
        kept = STACKS / f"bench-{name}-{self.device}"
        command = [
            sys.executable, str(ROOT / "scripts/export_model.py"), model, "--backend", "python",
            "--repository", str(kept), "--device", self.device,
            *(("--max-batch-size", "256") if self.device == "cuda" else ()), *options,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode != 0:
            raise StackError(f"the model could not be exported\n{done.stderr}")
        return kept

    @contextmanager
    def other_triton(self, repository: Path) -> Iterator["Rig"]:
        """A rig with the same brokers and another Triton, for these models."""
        other = copy.copy(self)
        directory = self.directory / f"triton-{uuid.uuid4().hex[:8]}"
        with Triton(repository, directory) as other.triton:
            yield other

    def topic(self, name: str, partitions: int = PARTITIONS) -> str:
        """Make a new topic; the broker stamps its records, so that rates need only the broker's
        clock."""
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        create_topics(
            self.kafka.bootstrap,
            {unique: partitions},
            {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"},
            self.replicas,
        )
        return unique

    def backlog(self, count: int, encoding: Encoding) -> str:
        """Make a topic with `count` images in it: the 1,000 shipped ones, again and again."""
        topic = self.topic(f"backlog-{encoding.value}")
        self.fill_images(topic, cifar10(encoding), count)
        return topic

    def fill_images(self, topic: str, images: Sequence[EncodedImage], count: int) -> None:
        """Produce `count` images with several processes, repeating these."""
        fill_images(self.kafka.bootstrap, topic, images, count, FILLERS)

    def fill(self, topic: str, records: Iterable[Outgoing]) -> None:
        """Produce the records, and wait until the broker has them all."""
        fill(self.kafka.bootstrap, topic, records)

    def counters(self, model: str) -> ModelCounters:
        """Triton's counters of one model."""
        try:
            return read_counters(self.triton.grpc)[model, "1"]
        except TritonError as error:
            raise StackError(str(error)) from None

    def ends(self, topic: str) -> int:
        """The number of records, and of transaction markers, in a topic."""
        with self.reader() as consumer:
            partitions = consumer.list_topics(topic, timeout=READ_S).topics[topic].partitions
            return sum(_end(consumer, TopicPartition(topic, p)) for p in partitions)

    def append_times(self, topic: str) -> list[int]:
        """When the broker appended each (committed) record of a topic; epoch milliseconds.

        Raises:
            StackError: the broker gives anything but records and ends of partitions.
        """
        with self.reader() as consumer:
            partitions = consumer.list_topics(topic, timeout=READ_S).topics[topic].partitions
            consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
            open_partitions = set(partitions)
            times: list[int] = []
            while open_partitions:
                for message in consumer.consume(5000, 1.0):
                    error = message.error()
                    if error is None:
                        times.append(message.timestamp()[1])
                    elif error.code() == KafkaError._PARTITION_EOF:
                        open_partitions.discard(message.partition())
                    else:
                        raise StackError(f"topic {topic} cannot be read: {error.str()}")
            return times

    @contextmanager
    def reader(self) -> Iterator[Consumer]:
        consumer = Consumer(
            {"bootstrap.servers": self.kafka.bootstrap, "group.id": "bench-reader",
             "enable.auto.commit": False, "enable.partition.eof": True,
             "isolation.level": "read_committed"}
        )  # fmt: skip
        try:
            yield consumer
        except KafkaException as error:
            raise StackError(f"Kafka cannot be read: {error.args[0].str()}") from None
        finally:
            consumer.close()


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    deadline = time.monotonic() + READ_S
    while True:
        try:
            return int(consumer.get_watermark_offsets(partition, timeout=READ_S)[1])
        except KafkaException as error:
            # For a topic that was just made, not every broker knows its leader yet.
            leaderless = error.args[0].code() == KafkaError.NOT_LEADER_FOR_PARTITION
            if not leaderless or time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)
