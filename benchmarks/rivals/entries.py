"""The rivals, one entry each. To add one: its program in `benchmarks/programs`, its entry here."""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import subjects
from benchmarks.models import NULL
from benchmarks.rig import CORES, MODEL, Rig
from benchmarks.rivals import flink, java
from benchmarks.rivals.table import EXACTLY_ONCE
from benchmarks.subjects import RIVALS as ENVIRONMENT
from benchmarks.subjects import Program
from stack.ports import free_ports
from stack.service import Service

AT_LEAST_ONCE, WEAKER = "at least once", "weaker"
GUARANTEES = {AT_LEAST_ONCE: "at-least-once", EXACTLY_ONCE: "exactly-once"}

Start = Callable[[Rig, str, str, str], list[Service]]
"""(rig, source, target, model) to what is started; the model is `MODEL` or `NULL`."""


@dataclass(frozen=True, slots=True)
class Rival:
    """One way to get images from Kafka through the model and back.

    Attributes:
        name: its name in tables.
        guarantee: the fate of an image when a process is killed.
        how: versions and settings, for the page.
        start: starts its processes.
        takes_json: its images are MLServer's JSON requests, and come after it has started.
        null: whether it is also measured against the model that answers at once.
        lone: whether its latency is measured, too.
        on_java: whether Java compiles it while it runs; it is then warmed up for longer.
    """

    name: str
    guarantee: str
    how: str
    start: Start
    takes_json: bool = False
    null: bool = False
    lone: bool = False
    on_java: bool = False


def _bridge(guarantee: str) -> Start:
    def start(rig: Rig, source: str, target: str, model: str) -> list[Service]:
        settings = {"delivery": GUARANTEES[guarantee]}
        return subjects.bridges(rig, source, target, model=model, settings=settings)

    return start


def _careful(rig: Rig, source: str, target: str, model: str) -> list[Service]:
    return subjects.careful(rig, source, target, _torch_model(rig, model))


def _usual_demo(rig: Rig, source: str, target: str, model: str) -> list[Service]:
    arguments = ["--model", _torch_model(rig, model), "--device", rig.torch_device]
    return [_program(rig, "usual_demo", source, target, arguments)]


WINDOW = 32
"""Images in a window of Quix Streams: with 32, Triton is as fast as with 64, and fewer wait."""


def _quix(guarantee: str, *, triton: bool) -> Start:
    def start(rig: Rig, source: str, target: str, model: str) -> list[Service]:
        state = rig.directory / f"quix-{uuid.uuid4().hex[:8]}"
        arguments = [
            "--window", str(WINDOW), "--state", str(state), "--guarantee", GUARANTEES[guarantee],
            *(("--triton", rig.triton.grpc, "--model", model) if triton
              else ("--model", _torch_model(rig, model), "--device", rig.torch_device)),
        ]  # fmt: skip
        return [_program(rig, "quix", source, target, arguments)]

    return start


def _kafka_io(rig: Rig, source: str, target: str, model: str) -> list[Service]:
    arguments = ["--triton", rig.triton.grpc, "--model", model]
    return [_program(rig, "kafka_io", source, target, arguments)]


def _flink(guarantee: str, kind: str) -> Start:
    def start(rig: Rig, source: str, target: str, model: str) -> list[Service]:
        folder = rig.directory / f"flink-{uuid.uuid4().hex[:8]}"
        argv = [
            *java.command("FlinkTriton"), rig.kafka.bootstrap, source, target, folder.name,
            rig.triton.http, flink.name_of(model, kind), kind, str(CORES),
            str(2 * rig.max_batch), GUARANTEES[guarantee], f"file://{folder}/checkpoints",
        ]  # fmt: skip
        return [Program("flink", argv, folder)]

    return start


def _java(guarantee: str) -> Start:
    def start(rig: Rig, source: str, target: str, model: str) -> list[Service]:
        group = f"java-{uuid.uuid4().hex[:8]}"
        argv = [
            *java.command("BatchConsumer", "512m"), rig.kafka.bootstrap, source, target, group,
            rig.triton.grpc, model, str(rig.max_batch), str(2 * rig.instances),
            GUARANTEES[guarantee],
        ]  # fmt: skip
        return [Program("java", argv, rig.directory / group)]

    return start


def _mlserver(rig: Rig, source: str, target: str, model: str) -> list[Service]:
    folder = rig.directory / f"mlserver-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    ports = free_ports(3)
    server = {
        "host": "127.0.0.1", "http_port": ports[0], "grpc_port": ports[1], "metrics_port": ports[2],
        "kafka_enabled": True, "kafka_servers": rig.kafka.bootstrap, "kafka_topic_input": source,
        "kafka_topic_output": target, "parallel_workers": 0, "debug": False,
    }  # fmt: skip
    settings = {
        "name": MODEL, "implementation": "benchmarks.programs.mlserver_runtime.Resnet",
        "max_batch_size": rig.max_batch, "max_batch_time": 0.01,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(settings))
    env = {"BENCH_MODEL": _torch_model(rig, model), "BENCH_DEVICE": rig.torch_device}
    return [
        Program("mlserver", [str(ENVIRONMENT / "bin/mlserver"), "start", str(folder)], folder, env)
    ]


def _torch_model(rig: Rig, model: str) -> str:
    return NULL if model == NULL else str(rig.model_file)


def _program(rig: Rig, name: str, source: str, target: str, arguments: Sequence[str]) -> Service:
    argv = [
        *subjects.program(name, str(ENVIRONMENT / "bin/python")),
        *subjects.kafka(rig, source, target), *arguments,
    ]  # fmt: skip
    return Program(name, argv, rig.directory / "rivals")


_QUIX = f"Quix Streams 3.28.1, tumbling count windows of {WINDOW}, RocksDB and changelog topics"
_FLINK = (
    "Flink SQL 2.3.0 in one process (mini-cluster, parallelism as cores), ML_PREDICT with "
    "flink-model-triton 2.3.0: one image a request, JSON over HTTP, 5 at a time (its HTTP client's "
    "own limit for a host); a checkpoint every 0.5 s; two faults of 2.3.0 that keep "
    "it from running at all are worked round"
)
_JAVA = (
    "kafka-clients 4.3.1, grpc-java 1.85.1: what a poll brings, in batches of up to 64, as many in "
    "flight as the bridge has"
)

RIVALS: Sequence[Rival] = (
    Rival(
        "bridge", AT_LEAST_ONCE, "this project, its defaults", _bridge(AT_LEAST_ONCE),
        null=True, lone=True,
    ),
    Rival("bridge, exactly once", EXACTLY_ONCE, "this project", _bridge(EXACTLY_ONCE)),
    Rival(
        "careful consumer", AT_LEAST_ONCE,
        "confluent-kafka, batches of up to 64, torch in the same process, one process for each of "
        "Triton's instances", _careful, null=True, lone=True,
    ),
    Rival(
        "Java consumer", AT_LEAST_ONCE, _JAVA, _java(AT_LEAST_ONCE), null=True, lone=True,
        on_java=True,
    ),
    Rival(
        "Java consumer, exactly once", EXACTLY_ONCE, f"{_JAVA}; a transaction every 0.5 s",
        _java(EXACTLY_ONCE), on_java=True,
    ),
    Rival(
        "Quix Streams, torch", AT_LEAST_ONCE, f"{_QUIX}, torch in the same process",
        _quix(AT_LEAST_ONCE, triton=False),
    ),
    Rival(
        "Quix Streams, Triton", AT_LEAST_ONCE, f"{_QUIX}, Triton by tritonclient's gRPC",
        _quix(AT_LEAST_ONCE, triton=True), null=True, lone=True,
    ),
    Rival(
        "Quix Streams, Triton, exactly once", EXACTLY_ONCE, f"{_QUIX}, transactions",
        _quix(EXACTLY_ONCE, triton=True),
    ),
    Rival(
        "Flink", AT_LEAST_ONCE, f"{_FLINK}; an array of FP32, as its documentation has it",
        _flink(AT_LEAST_ONCE, flink.ARRAY), on_java=True,
    ),
    Rival(
        "Flink, base64", AT_LEAST_ONCE,
        f"{_FLINK}; a text that Triton's model turns into pixels, which is less JSON",
        _flink(AT_LEAST_ONCE, flink.TEXT), null=True, lone=True, on_java=True,
    ),
    Rival(
        "Flink, base64, exactly once", EXACTLY_ONCE, f"{_FLINK}; as above, in transactions",
        _flink(EXACTLY_ONCE, flink.TEXT), on_java=True,
    ),
    Rival(
        "MLServer", WEAKER,
        "MLServer 1.7.1 with its Kafka support and adaptive batching of up to 64 in 10 ms; reads "
        "without a group, from the end of the topic: messages lost in a crash stay lost",
        _mlserver, takes_json=True,
    ),
    Rival(
        "NVIDIA's kafka-io loop", WEAKER,
        "the consumer and producer threads of NVIDIA's example, one image at a time; Triton by "
        "gRPC in place of in the same process; offsets are committed before answers",
        _kafka_io, lone=True,
    ),
    Rival(
        "usual demo", WEAKER,
        "kafka-python 3.0.12, one image at a time, torch in the same process; offsets are "
        "committed before answers", _usual_demo, lone=True,
    ),
)  # fmt: skip
"""Ours first."""
