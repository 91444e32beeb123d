"""The examples of deploy/connect, run: what the bridge writes becomes rows of a real database."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.formats import FORMATS, FramedSerializer
from schemas.registry import Registry
from schemas.settings import RegistrySettings
from stack.kafka import Kafka
from tests.conftest import Topics
from tests.connect.postgres import Postgres
from tests.connect.worker import EXAMPLES, Connect
from tests.kafka_client import send
from tests.schemas.apicurio import apicurio
from tests.schemas.test_formats import CASES, predicted
from tests.waiting import eventually
from tests.wire.test_answers import EVENT
from wire.answers import Detections
from wire.prediction import Prediction, encode_prediction

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(1800)]

ROWS_S = 180


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with apicurio(tmp_path_factory.mktemp("apicurio") / "log") as url:
        yield url


@pytest.fixture
def database() -> Iterator[Postgres]:
    # Not in pytest's own folder, which only its user can enter.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        with Postgres(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


def predictions() -> dict[str, Prediction]:
    """One of each kind, by its id."""
    return {case: predicted(case)._replace(id=case) for case in CASES}


def publish(kafka: Kafka, topic: str, serializer: FramedSerializer | None) -> None:
    # Each twice, as at-least-once delivery may write it.
    for _ in range(2):
        send(
            kafka.bootstrap,
            topic,
            [
                encode_prediction(EVENT, case.encode(), one, "bridge", serializer=serializer)
                for case, one in predictions().items()
            ],
        )


@contextmanager
def sink(
    example: str, kafka: Kafka, topic: str, database: Postgres, folder: Path, **more: str
) -> Iterator[Connect]:
    worker = {"bootstrap.servers": kafka.bootstrap}
    connector: Mapping[str, str] = {
        "topics": topic,
        "connection.url": database.jdbc,
        **{name.replace("__", "."): text for name, text in more.items()},
    }
    secret = {"DATABASE_PASSWORD": database.password}
    with Connect(folder, example, worker, connector, secret) as running:
        yield running


def best(prediction: Prediction) -> tuple[str, str]:
    """The label and the score of what is surest, as psql prints them; empty where there is none."""
    answer = prediction.answer
    found = answer.found[:1] if isinstance(answer, Detections) else prediction.top[:1]
    return next(((one["label"], str(one["score"])) for one in found), ("", ""))


EXPECTED = sorted((case, one.task, *best(one)) for case, one in predictions().items())
ANSWERS = "SELECT id, task, label, score FROM predictions ORDER BY id"


def wait_for_rows(running: Connect, database: Postgres, table: str, count: int) -> None:
    def written() -> bool:
        assert not running.failure(), running.failure()
        exists = database.query(f"SELECT to_regclass('{table}')") != [("",)]
        return exists and database.query(f"SELECT count(*) FROM {table}") == [(str(count),)]  # noqa: S608

    eventually(written, f"have {count} rows", ROWS_S)


def test_json_becomes_rows(
    kafka: Kafka, topics: Topics, database: Postgres, tmp_path: Path
) -> None:
    publish(kafka, topics.predictions, None)
    example = "json-to-postgres.properties"
    with sink(example, kafka, topics.predictions, database, tmp_path) as running:
        wait_for_rows(running, database, "predictions_json", 2 * len(CASES))
    database.query((EXAMPLES / "predictions.sql").read_text())
    assert sorted(database.query(ANSWERS)) == EXPECTED


def test_avro_becomes_rows(
    kafka: Kafka, topics: Topics, database: Postgres, registry: str, tmp_path: Path
) -> None:
    client = Registry(RegistrySettings(registry, options={"timeout": 60}))
    schema_id = client.id_of(FORMATS["avro"], f"{topics.predictions}-value", register=True)
    client.close()
    publish(kafka, topics.predictions, FramedSerializer(FORMATS["avro"], schema_id))
    own = registry.replace("/apis/ccompat/v7", "/apis/registry/v2")
    with sink(
        "avro-to-postgres.properties", kafka, topics.predictions, database, tmp_path,
        value__converter__apicurio__registry__url=own,
    ) as running:  # fmt: skip
        wait_for_rows(running, database, "predictions", len(CASES))
    assert sorted(database.query(ANSWERS)) == EXPECTED
    described = database.query(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_name = 'predictions'"
    )
    columns = {row[0]: row[1] for row in described}
    assert columns["stamps_ns_inferred"] == "bigint"
    assert not {"top", "detections", "embedding", "outputs", "heads"} & set(columns)
