"""The real servers, started once for all tests that ask for them."""

import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from stack.kafka import Kafka
from stack.service import Service
from stack.topics import create_topics
from stack.triton import Triton
from tests.storage.server import ObjectServer

# A machine that is busy is no reason to fail.
settings.register_profile("no-deadline", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=20)
settings.load_profile("no-deadline")

# A shell starts what runs in its background with interrupts ignored. The programs that the tests
# start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def loggers_are_not_kept() -> Iterator[None]:
    """A logger that is kept after one test would write past what a later test captures."""
    configure = structlog.configure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            structlog,
            "configure",
            lambda **options: configure(**{**options, "cache_logger_on_first_use": False}),
        )
        yield


PARTITIONS = 4
MODEL = "resnet20_cifar10"
ENSEMBLE = f"{MODEL}_encoded"


@dataclass(frozen=True, slots=True)
class Topics:
    """Topics of one test alone."""

    images: str
    predictions: str
    dead_letters: str


SERVERS = frozenset(
    (
        "kafka",
        "triton",
        "secure_kafka",
        "secure_triton",
        "start_bridge",
        "start_trial",
        "object_server",
    )
)
"""Fixtures that start a server. `make test-fast` leaves out the tests that ask for one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test that starts a server by itself has to be marked, or it would slow the fast tests."""

    def refuse(service: Service) -> None:
        pytest.fail(f"this test starts {service.name}: mark it with pytest.mark.slow")

    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("slow") is None:
            patch.setattr(Service, "launch", refuse)
        return (yield)


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


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with ObjectServer(tmp_path_factory.mktemp("objects")) as server:
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
