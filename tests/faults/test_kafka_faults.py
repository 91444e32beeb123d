"""Brokers restart, die, are cut off, and run out of disk."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from stack.cluster import KafkaCluster
from stack.kafka import Kafka
from stack.ports import HOST, free_ports
from stack.topics import create_topics
from tests.conftest import PARTITIONS, Topics
from tests.faults.conftest import Judge, StartTrial
from tests.faults.proxy import Proxy
from tests.faults.trial import bad_network
from tests.waiting import eventually

DISK_MB = 96

pytestmark = pytest.mark.soak


def make_topics(brokers: str) -> Topics:
    names = Topics("images", "predictions", "images.dlq")
    create_topics(
        brokers,
        dict.fromkeys((names.images, names.predictions, names.dead_letters), PARTITIONS),
    )
    return names


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_broker_restarted(start_trial: StartTrial, judge: Judge, tmp_path: Path, how: str) -> None:
    with Kafka(tmp_path / "kafka") as broker:
        trial = start_trial(broker.bootstrap, topics=make_topics(broker.bootstrap))
        bridge = trial.bridge()
        trial.flowing(bridge)
        if how == "stopped":
            broker.stop()
        else:
            broker.kill()
        broker.start()
        trial.flowing(bridge)
        judge(trial.settle())


def test_one_of_three_brokers_killed(start_trial: StartTrial, judge: Judge, tmp_path: Path) -> None:
    with KafkaCluster(tmp_path / "cluster") as cluster:
        trial = start_trial(cluster.bootstrap, topics=make_topics(cluster.bootstrap))
        bridge = trial.bridge()
        trial.flowing(bridge)
        cluster.brokers[1].kill()
        trial.flowing(bridge, 500)
        cluster.brokers[1].start()
        trial.flowing(bridge)
        judge(trial.settle())


def test_network_to_broker_cut_slowed_and_dripping(
    start_trial: StartTrial, judge: Judge, tmp_path: Path
) -> None:
    (inner,) = free_ports(1)
    with Proxy(inner) as proxy:
        # The bridge reaches the broker through the proxy alone; the rest goes straight.
        broker = Kafka(tmp_path / "kafka")
        broker.add_listener("PROXIED", inner, "PLAINTEXT", advertised_port=proxy.port)
        with broker:
            trial = start_trial(
                broker.bootstrap,
                topics=make_topics(broker.bootstrap),
                brokers=f"{HOST}:{proxy.port}",
            )
            bad_network(trial, proxy)
            judge(trial.settle())


@contextmanager
def small_disk(path: Path, size_mb: int) -> Iterator[None]:
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", f"faults-{uuid.uuid4()}", str(path)],
        check=True,
    )
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk that is full needs root: mounting one")
def test_broker_disk_full(start_trial: StartTrial, judge: Judge, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", DISK_MB), Kafka(tmp_path / "disk/kafka") as broker:
        trial = start_trial(broker.bootstrap, topics=make_topics(broker.bootstrap))
        bridge = trial.bridge()
        trial.flowing(bridge)
        ballast = tmp_path / "disk/ballast"
        fill(ballast)
        # Kafka gives its only log directory up, and itself with it.
        eventually(lambda: not broker.running, "the broker giving up")
        ballast.unlink()
        broker.kill()
        broker.start()
        trial.flowing(bridge)
        judge(trial.settle())


def test_producer_queue_full(start_trial: StartTrial, judge: Judge) -> None:
    trial = start_trial()
    bridge = trial.bridge(kafka_producer='{"queue.buffering.max.messages": 20}')
    trial.flowing(bridge)
    judge(trial.settle())
