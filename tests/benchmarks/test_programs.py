"""The programs that make load straight at Triton go on for as long as they are asked to."""

import json
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from benchmarks.formats import right_answers
from benchmarks.latency import run_probes
from benchmarks.models import NULL
from benchmarks.subjects import bridges, careful, is_shared, program
from benchmarks.window import running, wait_until
from consumer.measuring.triton import read_counters
from producer.sources import CIFAR10_FILE
from stack.errors import StackError
from stack.kafka import Kafka
from stack.topics import create_topics
from stack.triton import Triton
from tests.conftest import MODEL

pytestmark = pytest.mark.slow

IN_FLIGHT, BATCH = 2, 8


def inferences(triton: Triton) -> int:
    return read_counters(triton.grpc)[MODEL, "1"].inferences


def command(name: str, triton: Triton) -> list[str]:
    return [
        *program(name), "--triton", triton.grpc, "--model", MODEL,
        "--images", str(CIFAR10_FILE),
    ]  # fmt: skip


def test_load_follows_its_answers_until_it_is_stopped(triton: Triton) -> None:
    enough = inferences(triton) + 10 * IN_FLIGHT * BATCH
    options = ["--batch", str(BATCH), "--in-flight", str(IN_FLIGHT)]
    with subprocess.Popen([*command("triton_load", triton), *options]) as load:
        deadline = time.monotonic() + 120
        while inferences(triton) < enough and load.poll() is None:
            assert time.monotonic() < deadline, "the load stood still"
            time.sleep(0.1)
        load.send_signal(signal.SIGTERM)
        assert load.wait(60) == 0


def test_the_probe_hears_of_every_image(triton: Triton, tmp_path: Path) -> None:
    output = tmp_path / "latencies.json"
    options = ["--rate", "5", "--seconds", "4", "--warm", "3", "--output", str(output)]
    subprocess.run([*command("probe", triton), *options], check=True)
    found = json.loads(output.read_text())
    assert found["sent"] == found["answered"] == len(found["latencies_ms"]) == 20
    assert min(found["latencies_ms"]) > 0
    assert len(found["lateness_ms"]) == 20
    assert min(found["lateness_ms"]) >= 0


def test_several_probes_on_one_topic_hear_each_of_their_own(kafka: Kafka, tmp_path: Path) -> None:
    source, target = uuid.uuid4().hex, uuid.uuid4().hex
    create_topics(kafka.bootstrap, {source: 2, target: 2})
    brokers = ["--brokers", kafka.bootstrap, "--source", source, "--target", target]
    relay = [*program("relay"), *brokers, "--group", "relay"]
    probe = [
        *program("probe"), "--images", str(CIFAR10_FILE), "--rate", "20",
        "--seconds", "2", "--warm", "3", *brokers,
    ]  # fmt: skip
    with subprocess.Popen(relay) as answers:
        try:
            found = run_probes(probe, tmp_path, probes=2, seconds=2)
        finally:
            answers.send_signal(signal.SIGTERM)
        assert answers.wait(60) == 0
    for one in found:
        assert one["sent"] == one["answered"] == len(one["lateness_ms"]) == 40


def test_consumers_that_share_a_topic_are_ready_when_each_has_its_partitions(
    kafka: Kafka, tmp_path: Path
) -> None:
    source, target = uuid.uuid4().hex, uuid.uuid4().hex
    create_topics(kafka.bootstrap, {source: 4, target: 1})
    rig: Any = SimpleNamespace(
        kafka=kafka,
        instances=2,
        max_batch=64,
        torch_device="cpu",
        directory=tmp_path,
        require_servers=lambda: None,
    )
    consumers: Any = careful(rig, source, target, NULL)
    with running(rig, consumers):
        group = consumers[0]._argv[consumers[0]._argv.index("--group") + 1]
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        members = admin.describe_consumer_groups([group])[group].result().members
    assert len(members) == 2
    assert all(member.assignment.topic_partitions for member in members)


def test_bridges_share_their_topic_once_each_has_its_partitions(
    kafka: Kafka, triton: Triton, tmp_path: Path
) -> None:
    source, target, dead = (uuid.uuid4().hex for _ in range(3))
    create_topics(kafka.bootstrap, {source: 4, target: 1, dead: 1})
    rig: Any = SimpleNamespace(
        kafka=kafka,
        triton=triton,
        directory=tmp_path,
        topic=lambda _name: dead,
        require_servers=lambda: None,
    )
    several: Any = bridges(rig, source, target, count=2)
    with running(rig, several):
        wait_until(rig, lambda: is_shared(several, 4), several, "the bridges' partitions")
        assert not is_shared(several[:1], 4)  # the other one has the rest
        assert not is_shared([*several, several[0]], 4)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        group = several[0]._settings["group"]
        members = admin.describe_consumer_groups([group])[group].result().members
    assert [bool(member.assignment.topic_partitions) for member in members] == [True, True]


def test_a_probe_that_fails_says_why(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('no answer')"]
    with pytest.raises(StackError, match="no answer"):
        run_probes(failing, tmp_path, probes=2, seconds=1)


def test_right_answers_are_counted_by_the_models_own_scores(triton: Triton) -> None:
    assert right_answers(triton.grpc, 64) == 915
