"""The subjects of measurements: each takes images from one topic and writes answers to another."""

import os
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from benchmarks.programs.common import ASSIGNED
from benchmarks.rig import CORES, IMAGES, MODEL, Rig
from stack.bridge import Bridge
from stack.paths import CACHE, ROOT
from stack.service import Command, Service

RIVALS = CACHE / "rivals"
"""The virtual environment of the rivals; `make bench-rivals` creates it."""

LOADS = max(1, min(4, CORES // 4))
"""Processes that load Triton; where the cores run the model, more of them would only take cores."""


def in_flight(instances: int, loads: int = LOADS) -> int:
    """Requests that keep Triton busy: two for each instance, as the bridge has them, and one more
    for each process that loads it, which needs a while to send its next one.
    """
    return 2 * instances + loads


AT_LEAST_ONCE: Mapping[str, str] = MappingProxyType({"delivery": "at-least-once"})
EXACTLY_ONCE: Mapping[str, str] = MappingProxyType({"delivery": "exactly-once"})


class Program(Service):
    """A process that runs one of `benchmarks/programs`."""

    def __init__(
        self, name: str, argv: Sequence[str], directory: Path, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(name, directory)
        self._argv = argv
        self._env = env

    def _prepare(self) -> Command:
        # An environment of its own, such as the rivals', does not have the project.
        return Command(self._argv, {**os.environ, "PYTHONPATH": str(ROOT), **(self._env or {})})

    def _is_ready(self) -> bool:
        return True  # its work shows in a topic, or in Triton's counters


class OneOfSeveral(Program):
    """A program that shares a topic with others: it is ready when it has got partitions.

    What is measured before then would count the group's rebalance.
    """

    def _is_ready(self) -> bool:
        return ASSIGNED in self.log_path.read_text(errors="replace").splitlines()


def program(name: str, python: str = sys.executable) -> list[str]:
    """The command that runs one of `benchmarks/programs`."""
    return [python, "-m", f"benchmarks.programs.{name}"]


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


def is_shared(bridges: Sequence[Bridge], partitions: int) -> bool:
    """Whether the bridges of a group have all partitions of their topic, and each has some.

    Until then, a second and more after the last of them is ready, nobody reads the partitions that
    move to it.
    """
    assigned = [one.metrics()["bridge_partitions_assigned"] for one in bridges]
    return all(assigned) and sum(assigned) == partitions


def triton_load(
    rig: Rig, batch: int, in_flight: int, model: str = MODEL, images: Path = IMAGES
) -> list[Service]:
    """Load on Triton without Kafka, from several processes: `in_flight` requests in all, or more.

    A single Python client limited a GPU to 7,800 images/s of 224x224, or to 9,000 single images/s.
    """
    each = -(-in_flight // LOADS)
    argv = [
        *program("triton_load"), "--triton", rig.triton.grpc, "--model",
        model, "--images", str(images), "--batch", str(batch), "--in-flight", str(each),
    ]  # fmt: skip
    return [Program(f"load-{i}", argv, rig.directory / "load") for i in range(LOADS)]


def relay(rig: Rig, source: str, target: str, rate: float | None = None) -> Service:
    """The bridge's load on Kafka, without the bridge: at `rate` images/s, or as fast as it can."""
    argv = [*program("relay"), *kafka(rig, source, target)]
    if rate is not None:
        argv += ["--rate", str(rate)]
    return Program("relay", argv, rig.directory / "relay")


def careful(rig: Rig, source: str, target: str, model: str) -> list[Service]:
    """As many careful consumers as Triton has instances, with as many cores each as an instance."""
    group = f"bench-{uuid.uuid4().hex[:8]}"
    threads = max(1, len(os.sched_getaffinity(0)) // rig.instances)
    argv = [
        *program("careful_consumer"), *kafka(rig, source, target, group),
        "--model", model, "--device", rig.torch_device, "--threads", str(threads),
        "--batch", str(rig.max_batch),
    ]  # fmt: skip
    return [
        OneOfSeveral(f"careful-{i}", argv, rig.directory / f"careful-{group}")
        for i in range(rig.instances)
    ]


def kafka(rig: Rig, source: str, target: str, group: str = "") -> list[str]:
    """The arguments for where a program reads and writes; without `group`, it gets a new one."""
    return ["--brokers", rig.kafka.bootstrap, "--source", source, "--target", target, "--group",
            group or f"bench-{uuid.uuid4().hex[:8]}"]  # fmt: skip
