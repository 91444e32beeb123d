"""A bridge that runs for one test, on the session's Kafka and Triton."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from stack.bridge import Bridge
from stack.kafka import Kafka
from stack.topics import create_topics
from stack.triton import Triton
from tests.conftest import Topics

StartBridge = Callable[..., Bridge]

OWN = Topics("images", "predictions", "images.dlq")
"""The topics of a broker that a test has for itself."""


@contextmanager
def own_broker(folder: Path, partitions: int = 1) -> Iterator[tuple[Kafka, dict[str, str]]]:
    """A broker that the test may stop, with the topics `OWN`; and a bridge's settings for it."""
    with Kafka(folder / "kafka") as broker:
        topics = (OWN.images, OWN.predictions, OWN.dead_letters)
        create_topics(broker.bootstrap, dict.fromkeys(topics, partitions))
        names = ("images_topic", "predictions_topic", "dead_letters_topic")
        yield broker, {"brokers": broker.bootstrap, **dict(zip(names, topics, strict=True))}


CRASH, HANG = b"BM crash, please", b"BM hang, please"
FRAGILE = f"""\
import signal, time
from PIL import Image
real_open = Image.open
def fragile_open(file, *arguments, **options):
    if file.getvalue() == {CRASH!r}:
        signal.raise_signal(signal.SIGSEGV)
    if file.getvalue() == {HANG!r}:
        time.sleep(3600)
    return real_open(file, *arguments, **options)
Image.open = fragile_open
"""


@pytest.fixture
def fragile_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image decoders that crash or hang when they are asked to: real ones cannot be made to."""
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(FRAGILE)
    monkeypatch.setenv("PYTHONPATH", str(shim))


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
