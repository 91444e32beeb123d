"""A detector and an embedder keep the promise of each delivery mode, whatever is killed."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.triton import Triton
from tests import models
from tests.faults.conftest import Judge, StartTrial
from tests.faults.trial import consumer_settings

pytestmark = pytest.mark.soak

KILLS = 10
SEED = 21
MODELS = {
    "detector": {"model": "detector"},
    "embedder": {
        "model": "embedder",
        "model_parameters": '{"preprocess.size": "32x32", "preprocess.normalize": "unit"}',
    },
}


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Triton]:
    repository = tmp_path / "zoo"
    models.write_detector(repository, side=32)  # of the load's raw pixels
    models.write_embedder(repository)
    with Triton(repository, tmp_path / "zoo-triton") as server:
        yield server


@pytest.mark.parametrize("model", MODELS)
def test_bridge_of_another_task_killed_ten_times(
    start_trial: StartTrial, judge: Judge, zoo: Triton, model: str
) -> None:
    trial = start_trial(triton=zoo.grpc)
    moments = random.Random(SEED)  # noqa: S311 - moments, not secrets
    options = consumer_settings({"session.timeout.ms": 10000, "group.instance.id": "static-1"})
    settings = {**options, **MODELS[model]}
    for _ in range(KILLS):
        bridge = trial.bridge(**settings)
        trial.flowing(bridge, moments.randrange(1, 300))
        bridge.kill()
    trial.bridge(**settings)
    judge(trial.settle())


@pytest.mark.parametrize("model", MODELS)
def test_triton_of_another_task_killed(
    start_trial: StartTrial, judge: Judge, zoo: Triton, model: str
) -> None:
    trial = start_trial(triton=zoo.grpc)
    bridge = trial.bridge(**MODELS[model])
    trial.flowing(bridge)
    for _ in range(2):
        zoo.kill()
        trial.unready(bridge)
        zoo.start()
        trial.flowing(bridge)
    judge(trial.settle())
