"""A bridge that runs for one test, on the session's Kafka and Triton."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stack.bridge import Bridge
from stack.kafka import Kafka
from stack.triton import Triton
from tests.conftest import Topics

StartBridge = Callable[..., Bridge]


@pytest.fixture
def start_bridge(
    kafka: Kafka, triton: Triton, topics: Topics, tmp_path: Path
) -> Iterator[StartBridge]:
    """Starts bridges with any settings; `ready=False` does not wait for them."""
    with ExitStack() as running:

        def start(name: str = "bridge", *, ready: bool = True, **settings: str) -> Bridge:
            bridge = Bridge(
                {
                    "brokers": kafka.bootstrap,
                    "triton": triton.grpc,
                    "images_topic": topics.images,
                    "predictions_topic": topics.predictions,
                    "dead_letters_topic": topics.dead_letters,
                    "group": f"group-{topics.images}",
                    **settings,
                },
                tmp_path,
                name,
            )
            running.callback(bridge.stop)
            bridge.launch()
            if ready:
                bridge.wait_ready()
            return bridge

        yield start
