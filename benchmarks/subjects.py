"""What is measured: each takes images from one topic and puts answers on another."""

import json
import os
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from benchmarks.programs.common import ANSWERING
from benchmarks.rig import CORES, IMAGES, MODEL, Rig
from stack.bridge import Bridge
from stack.paths import CACHE, ROOT
from stack.ports import free_ports
from stack.service import Command, Service

PEERS = CACHE / "peers"
"""The virtual environment of what ours is compared with; `make bench` makes it."""


LOADS = max(1, min(4, CORES // 4))
"""Processes that load Triton; where the cores run the model, more of them would only take cores."""
AT_LEAST_ONCE: Mapping[str, str] = MappingProxyType({"delivery": "at-least-once"})
EXACTLY_ONCE: Mapping[str, str] = MappingProxyType({"delivery": "exactly-once"})


class Program(Service):
    """One of `benchmarks/programs`."""

    def __init__(
        self, name: str, argv: Sequence[str], directory: Path, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(name, directory)
        self._argv = argv
        self._env = env

    def _prepare(self) -> Command:
        # An environment of its own, such as the peers', does not have the project.
        return Command(self._argv, {**os.environ, "PYTHONPATH": str(ROOT), **(self._env or {})})

    def _is_ready(self) -> bool:
        return True  # what it does shows elsewhere: in a topic, or in Triton's counters


class OneOfSeveral(Program):
    """One that shares a topic with others; it prints when it has its part of it."""

    @property
    def answers(self) -> bool:
        return ANSWERING in self.log_path.read_text(errors="replace").splitlines()


def program(name: str, python: str = sys.executable) -> list[str]:
    """The command that runs one of `benchmarks/programs`."""
    return [python, "-m", f"benchmarks.programs.{name}"]


def peers_python() -> Path | None:
    """The interpreter of the peers' environment, None where it was not made."""
    python = PEERS / "bin/python"
    return python if python.exists() else None


def bridges(
    rig: Rig,
    source: str,
    target: str,
    count: int = 1,
    model: str = MODEL,
    settings: Mapping[str, str] = AT_LEAST_ONCE,
    *,
    kind: Callable[..., Bridge] = Bridge,
) -> list[Service]:
    """Bridges of one new group, each a `kind` of these arguments."""
    group = f"bench-{uuid.uuid4().hex[:8]}"
    return [
        kind(
            {
                "brokers": rig.kafka.bootstrap,
                "triton": rig.triton.grpc,
                "model": model,
                "images_topic": source,
                "predictions_topic": target,
                "dead_letters_topic": rig.topic("dlq"),
                "group": group,
                "log_level": "warning",
                **settings,
            },
            rig.directory / "bridges",
            f"bridge-{group}-{index}",
        )
        for index in range(count)
    ]


def triton_load(
    rig: Rig, batch: int, in_flight: int, model: str = MODEL, images: Path = IMAGES
) -> list[Service]:
    """Load straight at Triton's gRPC, by several processes: `in_flight` requests in all, or more.

    A single Python client was the limit of a GPU: 7,800 images/s of 224x224, 9,000 lone ones.
    """
    each = -(-in_flight // LOADS)
    argv = [
        *program("triton_load"), "--triton", rig.triton.grpc, "--model",
        model, "--images", str(images), "--batch", str(batch), "--in-flight", str(each),
    ]  # fmt: skip
    return [Program(f"load-{i}", argv, rig.directory / "load") for i in range(LOADS)]


def relay(rig: Rig, source: str, target: str, rate: float | None = None) -> Service:
    """The bridge's load on Kafka, without the bridge: at `rate` images/s, or as fast as it can."""
    argv = [*program("relay"), *_kafka(rig, source, target)]
    if rate is not None:
        argv += ["--rate", str(rate)]
    return Program("relay", argv, rig.directory / "relay")


def careful(rig: Rig, source: str, target: str) -> list[Service]:
    """As many processes as Triton has instances, a share of the cores each: as Triton has it."""
    group = f"bench-{uuid.uuid4().hex[:8]}"
    threads = max(1, len(os.sched_getaffinity(0)) // rig.instances)
    argv = [
        *program("careful_consumer"), *_kafka(rig, source, target, group),
        *_torch(rig), "--threads", str(threads), "--batch", str(rig.max_batch),
    ]  # fmt: skip
    return [
        OneOfSeveral(f"careful-{i}", argv, rig.directory / f"careful-{group}")
        for i in range(rig.instances)
    ]


def usual_demo(rig: Rig, source: str, target: str) -> list[Service]:
    """kafka-python, one image at a time, torch in the same process."""
    return [_peer(rig, "usual_demo", [*_kafka(rig, source, target), *_torch(rig)])]


def quix(rig: Rig, source: str, target: str, guarantee: str = "at-least-once") -> list[Service]:
    arguments = [*_kafka(rig, source, target), *_torch(rig), "--guarantee", guarantee]
    return [_peer(rig, "quix", arguments)]


def quix_exactly_once(rig: Rig, source: str, target: str) -> list[Service]:
    return quix(rig, source, target, "exactly-once")


def mlserver(rig: Rig, source: str, target: str) -> list[Service]:
    """Seldon MLServer with its Kafka support and its adaptive batching.

    It consumes without a group, from the end of the topic: messages lost in a crash stay lost.
    """
    folder = rig.directory / f"mlserver-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    ports = free_ports(3)
    server = {
        "host": "127.0.0.1", "http_port": ports[0], "grpc_port": ports[1], "metrics_port": ports[2],
        "kafka_enabled": True, "kafka_servers": rig.kafka.bootstrap, "kafka_topic_input": source,
        "kafka_topic_output": target, "parallel_workers": 0, "debug": False,
    }  # fmt: skip
    model = {
        "name": MODEL, "implementation": "benchmarks.programs.mlserver_runtime.Resnet",
        "max_batch_size": rig.max_batch, "max_batch_time": 0.01,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))
    env = {
        "BENCH_MODEL": str(rig.model_file), "BENCH_DEVICE": rig.torch_device,
    }  # fmt: skip
    argv = [str(PEERS / "bin/mlserver"), "start", str(folder)]
    return [Program("mlserver", argv, folder, env)]


def mlserver_consumes(server: Service) -> bool:
    """Whether it has begun to read its topic; it says so nowhere but in its log."""
    return "Kafka server consuming" in server.log_path.read_text(errors="replace")


def _peer(rig: Rig, name: str, arguments: Sequence[str]) -> Program:
    argv = [*program(name, str(PEERS / "bin/python")), *arguments]
    return Program(name, argv, rig.directory / "peers")


def _kafka(rig: Rig, source: str, target: str, group: str = "") -> list[str]:
    return ["--brokers", rig.kafka.bootstrap, "--source", source, "--target", target, "--group",
            group or f"bench-{uuid.uuid4().hex[:8]}"]  # fmt: skip


def _torch(rig: Rig) -> list[str]:
    return ["--model", str(rig.model_file), "--device", rig.torch_device]
