"""One of three Tritons fails: nothing is lost, no answer is another image's, the others go on."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from stack.bridge import Bridge
from stack.kafka import Kafka
from tests.conftest import Topics
from tests.faults.conftest import Judge
from tests.faults.trial import Trial, kept_running
from tests.faults.trio import CLASSES, MODEL, Trio, three_tritons
from tests.kafka_client import collect
from tests.waiting import eventually
from wire.prediction import decode_prediction

pytestmark = pytest.mark.slow

RATE = 550
"""Images/s sent: more than the three answer, so that what is answered is what they can."""
IMAGES = 1000
ALL, FEWER = 300, 600
"""Images over which the rate is taken, before a fault and from its first moment on."""
SHARE = 0.6
"""Of what the well servers give, at least this much is answered while one is not."""
VICTIM = "127.0.0.2"


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with three_tritons(tmp_path_factory.mktemp("trio")) as made:
        yield made


@pytest.fixture
def trial(
    kafka: Kafka,
    trio: Trio,
    topics: Topics,
    tmp_path: Path,
    delivery: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Trial]:
    for name, value in trio.environment.items():
        monkeypatch.setenv(name, value)
    with Trial(kafka.bootstrap, trio.addresses, topics, tmp_path, delivery, rate=RATE) as made:
        yield made


def start(trial: Trial, trio: Trio, triton: str) -> Bridge:
    """A bridge that answers with all three servers."""
    bridge = trial.bridge(model=MODEL, triton=triton)
    for host in trio.servers:
        used(bridge, trio, host)
    return bridge


def used(bridge: Bridge, trio: Trio, host: str, expected: float = 1.0) -> None:
    name = f'bridge_triton_up{{server="{host}:{trio.port}"}}'
    eventually(lambda: bridge.metrics().get(name) == expected, f"{name} {expected:.0f}")


def images_per_s(trial: Trial, bridge: Bridge, count: int) -> float:
    began = time.monotonic()
    trial.flowing(bridge, count)
    return count / (time.monotonic() - began)


def finish(trial: Trial, judge: Judge, kafka: Kafka, topics: Topics) -> None:
    """Every image is answered, and each with the class that its own pixels give."""
    ledger = trial.settle(IMAGES)
    judge(ledger)
    assert ledger.dead == 0
    images = cifar10(Encoding.RAW)
    answers = collect(
        kafka.bootstrap, [topics.predictions], lambda found: len(found) >= ledger.answered
    )
    for answer in map(decode_prediction, answers):
        pixels = images[int(answer.id.rpartition("-")[2]) % len(images)].value
        assert answer.top[0]["class_id"] == pixels[0] % CLASSES, answer.id


@pytest.mark.parametrize("fault", ["killed", "frozen", "draining", "slow to a tenth"])
def test_one_of_three_tritons(
    trial: Trial, trio: Trio, judge: Judge, kafka: Kafka, topics: Topics, fault: str
) -> None:
    victim = trio.servers[VICTIM]
    bridge = start(trial, trio, trio.addresses)
    before = images_per_s(trial, bridge, ALL)
    if fault == "killed":
        victim.kill()
    elif fault == "frozen":
        victim.pause()
    elif fault == "draining":
        victim.stop()
    else:
        trio.slow(VICTIM, 10)
    during = images_per_s(trial, bridge, FEWER)
    if fault != "slow to a tenth":
        used(bridge, trio, VICTIM, 0.0)
    trial.load.finish(IMAGES)  # what is left is answered while the server comes back
    if fault == "frozen":
        victim.resume()
    trio.slow(VICTIM, 1)
    # It may also die of its requests' deadlines, which passed while it was frozen.
    with kept_running(victim):
        victim.start()
        used(bridge, trio, VICTIM)
    assert during >= SHARE * 2 / 3 * before
    assert bridge.health("ready") == 200
    finish(trial, judge, kafka, topics)


def test_one_of_three_tritons_replaced_under_another_address(
    trial: Trial, trio: Trio, judge: Judge, kafka: Kafka, topics: Topics
) -> None:
    old, *others = list(trio.servers)
    new = f"127.0.0.{int(list(trio.servers)[-1].rpartition('.')[2]) + 1}"
    bridge = start(trial, trio, trio.name)
    before = images_per_s(trial, bridge, ALL)
    trio.add(new).launch()
    trio.servers.pop(old).kill()
    trio.point(*others, new)
    during = images_per_s(trial, bridge, FEWER)
    used(bridge, trio, new)
    trial.load.finish(IMAGES)
    assert f"{old}:{trio.port}" not in str(bridge.metrics())
    assert during >= SHARE * 2 / 3 * before
    finish(trial, judge, kafka, topics)
