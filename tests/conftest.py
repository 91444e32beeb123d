"""The real servers, started once for all tests that ask for them."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from stack.kafka import Kafka
from stack.topics import create_topics
from stack.triton import Triton

# A machine that is busy is no reason to fail.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

PARTITIONS = 4
MODEL = "resnet20_cifar10"
ENSEMBLE = f"{MODEL}_jpeg"


@dataclass(frozen=True, slots=True)
class Topics:
    """Topics of one test alone."""

    images: str
    predictions: str
    dead_letters: str


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def model_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from exporter.export import export  # noqa: PLC0415 - torch takes seconds to import
    from exporter.passthrough import export_ensemble  # noqa: PLC0415

    repository = tmp_path_factory.mktemp("models")
    export(name=MODEL, repository=repository, backend="python")
    export_ensemble(MODEL, repository)
    return repository


@pytest.fixture(scope="session")
def triton(model_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    with Triton(model_repository, tmp_path_factory.mktemp("triton")) as server:
        yield server


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    suffix = uuid.uuid4().hex[:12]
    names = Topics(f"images-{suffix}", f"predictions-{suffix}", f"images-{suffix}.dlq")
    create_topics(
        kafka.bootstrap,
        dict.fromkeys((names.images, names.predictions, names.dead_letters), PARTITIONS),
    )
    return names
