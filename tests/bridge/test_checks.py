"""What is said of Triton while no image comes, with a clock of the test's own."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from bridge.batching import Batcher
from bridge.images import DecodedImage, Publication, ReceivedRecord
from bridge.inference import Answer, Checked, Done, InferenceError
from bridge.kafka.assignment import Assignment
from bridge.metrics import Metrics
from bridge.outlet import Outlet
from bridge.pipeline import CHECK_AGAIN_S, QUIET_S, Pipeline
from bridge.reading import ImageReader
from imaging.rules import Input, Size
from wire.image import ImageEvent
from wire.record import StoredRecord

AWAY = InferenceError("UNAVAILABLE", "connection refused")
KEY = ("images", 0)


class Server:
    """An inference server that answers, or refuses, at once."""

    def __init__(self) -> None:
        self.error: InferenceError | None = None
        self.checks = 0

    def infer(
        self,
        images: Sequence[Input],
        done: Done,
        _traceparent: str | None = None,
        _sizes: Sequence[Size | None] = (),
    ) -> None:
        top = ({"label": "cat", "class_id": 3, "score": 1.0},)
        done(self.error or Answer("1", [cast("Any", top)] * len(images)))

    def check(self, done: Checked) -> None:
        self.checks += 1
        done(self.error)

    def close(self) -> None:
        pass


class Passing:
    """A reader to which every record is a decoded image."""

    unread = pending = False

    def __init__(self) -> None:
        self._ready: Callable[[DecodedImage], None] | None = None

    def start(self, ready: Callable[[DecodedImage], None], _reply: object) -> None:
        self._ready = ready

    def add(self, arrivals: Sequence[ReceivedRecord]) -> None:
        assert self._ready is not None
        for arrival in arrivals:
            event = ImageEvent("image", None, None, None, 0, 0)
            self._ready(DecodedImage(arrival, event, b"pixels", 0))

    def read(self) -> None:
        pass


class Counting:
    """An outlet that only finishes images."""

    def __init__(self, assignment: Assignment[Publication]) -> None:
        self.drop = self._finish
        self._assignment = assignment
        self.answered = 0

    def answer(self, outcome: Any, _answer: Answer) -> None:
        for image in outcome.batch:
            self._finish(image.arrival)
            self.answered += 1

    def _finish(self, arrival: ReceivedRecord) -> None:
        self._assignment.finish([(arrival.tracker, arrival.key, None)])


class Rig:
    """A pipeline that is turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.server = Server()
        self.assignment: Assignment[Publication] = Assignment()
        self.assignment.assign([KEY])
        self.outlet = Counting(self.assignment)
        reader = Passing()
        batcher: Batcher[DecodedImage] = Batcher(8, 2, 0.1, 5.0, lambda: 1.0)
        self.pipeline = Pipeline(
            model="net", reader=cast("ImageReader", reader), inference=self.server, batcher=batcher,
            outlet=cast("Outlet", self.outlet), max_attempts=3, metrics=Metrics(),
            failed=self._failed, monotonic=lambda: self.now,
        )  # fmt: skip
        reader.start(batcher.add, None)

    def _failed(self, error: Exception) -> None:
        raise error

    @property
    def problem(self) -> str | None:
        return self.pipeline.problem

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and everything happen that is due then."""
        self.now += seconds
        for _ in range(4):
            self.pipeline.submit([])  # so that no turn waits
            self.pipeline._read_inbox()
            self.pipeline._send()
            self.pipeline._check()

    def image(self, offset: int) -> None:
        (tracker,) = self.assignment.begin([(*KEY, offset, 1)])
        assert tracker is not None
        self.pipeline.submit([ReceivedRecord(StoredRecord(), tracker, offset, 0)])


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_triton_that_dies_while_no_image_comes_is_seen(rig: Rig) -> None:
    rig.turn(QUIET_S)
    assert rig.server.checks == 1
    assert rig.problem is None
    rig.server.error = AWAY
    rig.turn(QUIET_S)
    assert str(rig.problem) == "not answering: UNAVAILABLE: connection refused"
    rig.server.error = None
    rig.turn(CHECK_AGAIN_S)
    assert rig.problem is None


def test_while_images_are_answered_nothing_is_asked(rig: Rig) -> None:
    for offset in range(20):
        rig.image(offset)
        rig.turn(QUIET_S / 2)
    assert rig.outlet.answered == 20
    assert rig.server.checks == 0


def test_partitions_revoked_during_an_outage_leave_no_reason_behind(rig: Rig) -> None:
    rig.server.error = AWAY
    rig.image(0)
    rig.turn()
    assert rig.problem is not None
    assert bool(rig.pipeline.stalled)
    rig.assignment.revoke([KEY])
    rig.turn(10)
    assert rig.assignment.images == 0
    assert not bool(rig.pipeline.stalled)
    assert rig.problem is not None
    rig.server.error = None
    rig.turn(CHECK_AGAIN_S)
    assert rig.problem is None


def test_a_model_that_is_ready_and_fails_on_each_image_is_not_called_well(rig: Rig) -> None:
    rig.server.error = InferenceError("INTERNAL", "CUDA error")
    rig.image(0)
    rig.turn()
    assert rig.problem == "the model fails: INTERNAL: CUDA error"
    rig.pipeline._checked(None)
    assert rig.problem is not None
