"""The model is unloaded, replaced while images flow, and replaced by one that fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.kafka import Kafka
from tests.conftest import Topics
from tests.faults.conftest import Judge, StartTrial
from tests.faults.trial import kept_running
from tests.faults.versions import FAILING, GOOD, MODEL, Versions
from tests.kafka_client import collect
from wire.prediction import decode_prediction

pytestmark = pytest.mark.soak


@pytest.fixture
def versions(tmp_path: Path) -> Iterator[Versions]:
    model = Versions(tmp_path)
    with model.server, kept_running(model.server):
        yield model


def test_model_unloaded_and_reloaded(
    start_trial: StartTrial, judge: Judge, versions: Versions
) -> None:
    trial = start_trial(triton=versions.server.grpc)
    bridge = trial.bridge(model=MODEL)
    trial.flowing(bridge)
    versions.unload()
    trial.unready(bridge)
    versions.load()
    trial.flowing(bridge)
    judge(trial.settle())


def test_new_version_loaded_while_images_flow(
    start_trial: StartTrial, judge: Judge, versions: Versions, kafka: Kafka, topics: Topics
) -> None:
    trial = start_trial(triton=versions.server.grpc)
    bridge = trial.bridge(model=MODEL)
    trial.flowing(bridge)
    versions.put(2, GOOD)
    versions.load()
    trial.flowing(bridge, 500)
    ledger = trial.settle()
    judge(ledger)
    assert ledger.dead == 0
    answers = collect(
        kafka.bootstrap, [topics.predictions], lambda found: len(found) >= ledger.answered
    )
    assert {decode_prediction(answer).version for answer in answers} == {"1", "2"}


def test_version_that_fails_and_is_replaced(
    start_trial: StartTrial, judge: Judge, versions: Versions
) -> None:
    trial = start_trial(triton=versions.server.grpc)
    bridge = trial.bridge(model=MODEL)
    trial.flowing(bridge)
    versions.put(2, FAILING)
    versions.load()
    # It fails on the probe image, so it gets no others, and none becomes a dead letter.
    trial.unready(bridge)
    versions.put(3, GOOD)
    versions.load()
    trial.flowing(bridge)
    judge(trial.settle())
