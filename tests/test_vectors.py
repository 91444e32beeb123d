"""The recipe for a vector database, as docs/tasks.md has it, on Qdrant's own engine in memory."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.wire.test_contract import a_prediction, an_image, stored
from wire.answers import FLOAT32, Embedding
from wire.image import decode_image
from wire.prediction import encode_prediction

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tasks.md"
EVENT = decode_image(stored(an_image()))


class Message:
    """What the recipe uses of a message of Kafka's client."""

    def __init__(self, value: bytes | None, error: object = None) -> None:
        self._value, self._error = value, error

    def value(self) -> bytes | None:
        return self._value

    def error(self) -> object:
        return self._error


def recipe() -> str:
    (code,) = re.findall(r"```python\n(.*?QdrantClient.*?)```", PAGE.read_text(), re.DOTALL)
    return str(code)


def prediction(name: str, vector: list[float], encoding: Any = "base64") -> Message:
    answer = Embedding(np.array(vector, FLOAT32).tobytes(), encoding)
    made = a_prediction(EVENT)._replace(id=name, top=(), answer=answer)
    return Message(encode_prediction(EVENT, b"key", made, "bridge/1").value)


def test_the_recipe_stores_each_vector_once_and_finds_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    qdrant = pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    messages = [
        prediction("red", [1, 0.1, 0]),
        prediction("green", [0, 1, 0]),
        prediction("red", [1, 0.1, 0]),  # at least once: an answer may come twice
        prediction("pink", [0.9, 0.2, 0.3]),
        Message(None, "a broker that is away"),
    ]
    committed: list[Message] = []

    class Consumer:
        def __init__(self, config: dict[str, Any]) -> None:
            assert config["enable.auto.commit"] is False

        def subscribe(self, topics: list[str]) -> None:
            assert topics == ["predictions"]

        def poll(self) -> Message:
            if not messages:
                raise KeyboardInterrupt
            return messages.pop(0)

        def commit(self, message: Message) -> None:
            committed.append(message)

    monkeypatch.setattr("confluent_kafka.Consumer", Consumer)
    database = qdrant.QdrantClient(":memory:")
    monkeypatch.setattr(qdrant, "QdrantClient", lambda *_, **__: database)
    with pytest.raises(KeyboardInterrupt):
        exec(compile(recipe(), str(PAGE), "exec"), {})  # noqa: S102 - our own documentation
    assert database.count("images").count == 3
    assert len(committed) == 4
    found = database.query_points("images", query=[1.0, 0.0, 0.0], limit=2).points
    assert [point.payload["id"] for point in found] == ["red", "pink"]
