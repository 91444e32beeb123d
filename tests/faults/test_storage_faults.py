"""The object store that images lie in dies, freezes, slows down, or is cut off."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from storage.client import Objects
from tests.faults.conftest import Judge, StartTrial
from tests.faults.proxy import Proxy
from tests.faults.trial import Trial, bad_network
from tests.storage.server import BUCKET, BUILD_S, ObjectServer
from wire.reference import Reference

pytestmark = pytest.mark.timeout(BUILD_S)

STORE = f"s3://{BUCKET}"
OBJECTS = 200
RATE = 100
"""Images/s: what the store, the bridge and Triton together do beside each other on two cores."""
FEW = int(os.environ.get("FAULT_IMAGES", "2000"))
"""Of the trial that `make test` has, too."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectServer]:
    """A server that a trial may break, with raw images in it."""
    with ObjectServer(tmp_path / "objects") as server, server.in_environment():
        asyncio.run(_fill())
        yield server


async def _fill() -> None:
    objects = Objects((STORE,), 60)
    await objects.connect()
    for number, image in enumerate(cifar10(Encoding.RAW)[:OBJECTS]):
        await objects.write(Reference("s3", BUCKET, f"faults/{number}"), image.value)
    await objects.close()


@pytest.fixture
def start(start_trial: StartTrial) -> Callable[[], Trial]:
    def begin() -> Trial:
        urls = [f"{STORE}/faults/{number}" for number in range(OBJECTS)]
        trial = start_trial(rate=RATE, references=urls)
        trial.settings["reference_allow"] = f"{STORE}/faults/"
        return trial

    return begin


def test_object_store_killed_and_restarted(
    store: ObjectServer, start: Callable[[], Trial], judge: Judge
) -> None:
    trial = start()
    bridge = trial.bridge()
    trial.flowing(bridge)
    store.kill()
    trial.unready(bridge)
    assert "not answering" in bridge.reasons()["object_storage"]
    store.start()
    trial.flowing(bridge)
    judge(trial.settle(FEW))


@pytest.mark.soak
def test_object_store_frozen(store: ObjectServer, start: Callable[[], Trial], judge: Judge) -> None:
    trial = start()
    bridge = trial.bridge(request_timeout_s="2")
    trial.flowing(bridge)
    store.pause()
    try:
        trial.unready(bridge)
    finally:
        store.resume()
    trial.flowing(bridge)
    judge(trial.settle())


@pytest.mark.soak
def test_network_to_object_store_cut_slowed_and_dripping(
    store: ObjectServer, start: Callable[[], Trial], judge: Judge
) -> None:
    with Proxy(store.port) as proxy, store.in_environment(proxy.port):
        trial = start()
        bad_network(trial, proxy)
        judge(trial.settle())


@pytest.mark.soak
def test_bridge_killed_while_it_fetches(
    store: ObjectServer, start: Callable[[], Trial], judge: Judge
) -> None:
    assert store.running
    trial = start()
    for _ in range(3):
        bridge = trial.bridge()
        trial.flowing(bridge)
        bridge.kill()
    trial.bridge()
    judge(trial.settle())
