"""One Triton with tiny models of many kinds, and a way to ask them through Kafka."""

import json
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import pytest

from producer.encoding import EncodedImage
from stack.kafka import Kafka
from stack.triton import Triton
from tests import models, stand_ins
from tests.bridge.answers import as_record, collect_answers, predictions
from tests.bridge.conftest import StartBridge
from tests.conftest import Topics
from tests.kafka_client import send
from wire.deadletter import DeadLetter, decode_dead_letter
from wire.image import image_id
from wire.prediction import Prediction


class Answered(NamedTuple):
    """Predictions and dead letters, by the id of their image."""

    predictions: dict[str, Prediction]
    letters: dict[str, DeadLetter]


class Ask(Protocol):
    def __call__(
        self,
        images: dict[str, EncodedImage],
        model: str,
        parameters: dict[str, str] | None = None,
        **settings: str,
    ) -> Answered: ...


@pytest.fixture(scope="package")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    repository = tmp_path_factory.mktemp("zoo")
    models.write_resnet20(repository)
    models.write_densenet(repository)
    models.write_detector(repository)
    models.write_embedder(repository)
    models.write_liar(repository)
    stand_ins.write_all(repository)
    with Triton(repository, tmp_path_factory.mktemp("zoo-triton")) as server:
        yield server


@pytest.fixture
def ask(kafka: Kafka, topics: Topics, start_bridge: StartBridge, zoo: Triton) -> Ask:
    """What a model of the zoo says of some images, through Kafka and a bridge."""

    def asked(
        images: dict[str, EncodedImage],
        model: str,
        parameters: dict[str, str] | None = None,
        **settings: str,
    ) -> Answered:
        start_bridge(
            triton=zoo.grpc, model=model, model_parameters=json.dumps(parameters or {}), **settings
        )
        records = [as_record(image, name) for name, image in images.items()]
        send(kafka.bootstrap, topics.images, records)
        messages = collect_answers(kafka, topics, len(images))
        return Answered(
            {one.id: one for one in predictions(messages, topics)},
            {
                image_id(m): decode_dead_letter(m)
                for m in messages
                if m.topic() == topics.dead_letters
            },
        )

    return asked
