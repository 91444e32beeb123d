"""The bridge as a whole, before it has anything to serve."""

import urllib.error
import urllib.request
from threading import Event, Thread
from typing import Any, ClassVar, cast

import pytest

from bridge.app import App, ThreadDiedError
from bridge.inference import InferenceError
from bridge.loading import load
from bridge.startup import wait_for_model
from bridge.tasks.classify import Classify
from bridge.tasks.task import Output
from bridge.triton.inputs import ModelInput
from bridge.triton.model import ModelSpec
from imaging.rules import Preprocess
from stack.ports import free_ports

SPEC = ModelSpec(
    "net", "1", ModelInput("IN", "BYTES", None),
    Classify(Output("OUT", "FP32", (10,)), 10, top_k=3),
    8, True, 1, Preprocess(),
)  # fmt: skip


class Polled:
    """A consumer that counts how often it is polled."""

    polls = 0

    def poll(self, _timeout_s: float) -> None:
        self.polls += 1


class Late:
    """A Triton whose model is there at the fourth look."""

    looks = 0
    members: ClassVar[dict[str, object]] = {}

    def load_spec(self) -> ModelSpec:
        self.looks += 1
        if self.looks < 4:
            raise InferenceError("UNAVAILABLE", "away")
        return SPEC


def test_what_kafkas_client_has_to_tell_does_not_pile_up_while_triton_is_waited_for() -> None:
    consumer, triton = Polled(), Late()
    settings = load({"retry_min_s": 0.001})
    found = wait_for_model(cast("Any", triton), cast("Any", consumer), settings, Event(), {})
    assert found is SPEC
    assert consumer.polls == triton.looks == 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_death_of_any_thread_ends_the_service() -> None:
    (port,) = free_ports(1)
    app = App(load({"brokers": "127.0.0.1:1", "triton": "127.0.0.1:1", "http_port": port}))
    ended: list[Exception] = []

    def run() -> None:
        try:
            app.run()
        except Exception as error:
            ended.append(error)

    service = Thread(target=run)
    service.start()
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=30)

    def die() -> None:
        raise ZeroDivisionError

    Thread(target=die, name="talker").start()
    service.join(30)
    assert [type(error) for error in ended] == [ThreadDiedError]
    assert "talker" in str(ended[0])
