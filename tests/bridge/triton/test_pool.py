"""Several servers as one, with servers and a clock of the test's own."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
from prometheus_client import generate_latest

from bridge.inference import Answer, Done, InferenceError
from bridge.metrics import Metrics
from bridge.tasks.classify import Classify
from bridge.tasks.task import Output
from bridge.triton.addresses import Address, Addresses
from bridge.triton.inputs import ModelInput
from bridge.triton.model import ModelSpec, UnservableModelError
from bridge.triton.pool import Pool
from bridge.triton.servers import Limits
from imaging.rules import Input, Preprocess, Size

SPEC = ModelSpec(
    name="net", version="", input=ModelInput("IN", "UINT8", (2, 2, 3)),
    task=Classify(Output("OUT", "FP32", (10,)), 10, top_k=3),
    max_batch=8, batched=True, instances=1, preprocess=Preprocess(),
)  # fmt: skip
DOWN = InferenceError("UNAVAILABLE", "connection refused")
SILENT = InferenceError("DEADLINE_EXCEEDED", "Deadline Exceeded")
BROKEN = InferenceError("INTERNAL", "the model raised")
BATCH = [b"one", b"two"]
IMPOSSIBLE = [b"impossible"]


class FakeServer:
    """Answers probes by itself, and batches when it is told to."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.spec = SPEC
        self.version = "1"
        self.down: InferenceError | None = None
        self.probe: InferenceError | None = None
        self.held: list[tuple[Sequence[Input], Done]] = []
        self.closed = False

    def load_spec(self, timeout_s: float = 5) -> ModelSpec:  # noqa: ARG002
        if self.down is not None:
            raise self.down
        return self.spec

    def serving(self, timeout_s: float) -> str:  # noqa: ARG002
        if self.down is not None:
            raise self.down
        return self.version

    def infer(
        self,
        images: Sequence[Input],
        done: Done,
        traceparent: str | None = None,
        sizes: Sequence[Size | None] = (),
    ) -> None:
        del traceparent, sizes
        if images is IMPOSSIBLE:
            raise TypeError("no request can be made of it")
        if images == BATCH:
            self.held.append((images, done))
        else:
            done(self.probe or Answer(self.version, [()]))

    def answer(self, result: InferenceError | None = None) -> None:
        images, done = self.held.pop(0)
        done(result or Answer(f"{self.address} v{self.version}", [()] * len(images)))

    def close(self) -> None:
        self.closed = True


class Rig:
    """A pool of fake servers a, b, c..., all examined."""

    def __init__(self, names: str = "abc", *, mixed_versions: bool = False) -> None:
        self.now = 100.0
        self.hosts = list(names)
        self.servers: dict[str, FakeServer] = {}
        self.results: list[Answer | InferenceError] = []
        self.slots: list[int] = []
        self.metrics = Metrics()
        self.pool = Pool(
            Addresses("dns:///triton:1", lambda _host, _port: self.hosts),
            self.connect,
            metrics=self.metrics,
            limits=Limits(mixed_versions=mixed_versions, max_attempts=2),
            clock=lambda: self.now,
        )

    def connect(self, address: Address) -> FakeServer:
        name = address.text.partition(":")[0]
        self.servers[name] = FakeServer(name)
        return self.servers[name]

    def start(self) -> "Rig":
        self.pool.refresh()
        for name in self.hosts:
            self.look(name)
        self.pool.on_resize(self.slots.append)
        return self

    def look(self, name: str) -> None:
        with suppress(InferenceError, UnservableModelError):
            self.pool.look(self.pool.members[f"{name}:1"])

    def check(self, name: str) -> None:
        self.pool.ask(self.pool.members[f"{name}:1"])

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.pool.infer(BATCH, self.results.append)

    def move(self) -> None:
        """What the pool's thread does."""
        while not self.pool.waiting.empty():
            call = self.pool.waiting.get()
            assert call is not None
            self.pool.forward(call)

    def held(self) -> dict[str, int]:
        return {name: len(server.held) for name, server in self.servers.items() if server.held}

    def answered_by(self) -> list[str]:
        return [one.version if isinstance(one, Answer) else one.status for one in self.results]


def test_batches_go_round_and_each_gets_its_own_answer() -> None:
    rig = Rig().start()
    rig.send(3)
    assert rig.held() == {"a": 1, "b": 1, "c": 1}
    for name in "cab":
        rig.servers[name].answer()
    assert rig.answered_by() == ["c v1", "a v1", "b v1"]


def test_a_batch_of_a_server_that_died_goes_to_another_at_once() -> None:
    rig = Rig().start()
    rig.send()
    rig.servers["a"].answer(DOWN)
    rig.move()
    assert rig.held() == {"b": 1}
    assert rig.results == []
    rig.servers["b"].answer()
    assert rig.answered_by() == ["b v1"]


def test_a_server_that_failed_gets_nothing_until_it_passes_an_examination() -> None:
    rig = Rig("ab").start()
    assert rig.slots == [4]
    rig.send()
    rig.servers["a"].answer(DOWN)
    rig.move()
    assert rig.held() == {"b": 1}
    rig.servers["b"].answer()
    rig.send(4)
    assert rig.held() == {"b": 4}
    rig.servers["a"].probe = BROKEN  # it is there again, and its model fails
    rig.look("a")
    rig.send()
    assert rig.held() == {"b": 5}
    rig.servers["a"].probe = None
    rig.look("a")
    rig.send()
    assert rig.held() == {"a": 1, "b": 5}
    assert rig.slots == [4, 2, 4]


def test_what_a_frozen_server_has_goes_to_the_others_and_its_late_answer_is_let_go() -> None:
    rig = Rig("ab").start()
    rig.send(2)
    rig.servers["a"].down = SILENT
    rig.check("a")
    rig.move()
    assert rig.held() == {"a": 1, "b": 1}
    rig.servers["b"].answer()
    rig.move()
    assert rig.held() == {"a": 1, "b": 1}  # a still has its copy
    rig.servers["b"].answer()
    rig.servers["a"].answer()
    assert rig.answered_by() == ["b v1", "b v1"]


def test_a_server_that_answers_images_is_not_frozen() -> None:
    rig = Rig("ab").start()
    server, member = rig.servers["a"], rig.pool.members["a:1"]

    def busy(timeout_s: float) -> str:  # noqa: ARG001
        rig.now += 1
        member.answered_at = rig.now  # meanwhile, on another thread
        rig.now += 1
        raise SILENT

    server.serving = busy  # type: ignore[method-assign]
    rig.check("a")
    assert member.examined


def test_a_batch_of_a_frozen_server_waits_for_another_to_come() -> None:
    rig = Rig("ab").start()
    rig.servers["b"].down = DOWN
    rig.check("b")
    rig.send()
    rig.servers["a"].down = SILENT
    rig.check("a")
    rig.move()
    assert rig.held() == {"a": 1}
    rig.servers["b"].down = None
    rig.look("b")
    rig.move()
    rig.servers["b"].answer()
    assert rig.answered_by() == ["b v1"]


def test_without_a_well_server_the_pipeline_is_told_why() -> None:
    rig = Rig("ab").start()
    rig.send(2)
    rig.servers["b"].down = DOWN
    rig.check("b")
    rig.servers["a"].answer(DOWN)
    rig.move()
    assert rig.answered_by() == ["UNAVAILABLE"]
    rig.send()
    assert "a:1: connection refused; b:1: connection refused" in str(rig.results[-1])
    assert rig.slots == [4, 2]  # the batcher keeps a slot with which it tries again


def test_an_image_that_no_model_takes_is_not_tried_everywhere() -> None:
    rig = Rig().start()
    rig.send()
    rig.servers["a"].answer(InferenceError("INVALID_ARGUMENT", "wrong shape"))
    rig.move()
    assert rig.answered_by() == ["INVALID_ARGUMENT"]
    rig.send(3)
    assert rig.held() == {"a": 1, "b": 1, "c": 1}


def test_a_batch_that_two_models_fail_on_is_to_blame() -> None:
    rig = Rig().start()
    rig.send()
    for name in "ab":
        rig.servers[name].answer(BROKEN)
        rig.move()
    assert rig.answered_by() == ["INTERNAL"]
    rig.send(3)
    assert rig.held() == {"a": 1, "b": 1, "c": 1}


def test_a_model_that_fails_where_another_answers_is_left_alone() -> None:
    rig = Rig().start()
    rig.send()
    rig.servers["a"].answer(BROKEN)
    rig.move()
    rig.servers["b"].answer()
    assert rig.answered_by() == ["b v1"]
    rig.send(3)
    assert rig.held().keys() == {"b", "c"}


def test_a_server_that_left_dns_gets_nothing_more_and_may_finish() -> None:
    rig = Rig("ab").start()
    rig.send(2)
    rig.hosts = ["b", "c"]
    (new,) = rig.pool.refresh()
    assert new.name == "c:1"
    rig.look("c")
    rig.send(2)
    assert rig.held() == {"a": 1, "b": 2, "c": 1}
    rig.servers["a"].answer()
    assert rig.answered_by() == ["a v1"]
    text = generate_latest(rig.metrics.registry).decode()
    assert 'bridge_triton_up{server="a:1"}' not in text
    assert 'bridge_triton_requests_total{outcome="ok",server="a:1"}' not in text
    assert 'bridge_triton_up{server="c:1"} 1.0' in text
    assert 'bridge_triton_in_flight{server="c:1"} 1.0' in text


def test_what_a_server_has_that_left_and_is_silent_goes_to_the_others() -> None:
    rig = Rig("ab").start()
    rig.send(1)
    gone = rig.pool.members["a:1"]
    rig.hosts = ["b"]
    rig.pool.refresh()
    rig.servers["a"].down = SILENT
    rig.pool.ask(gone)
    rig.move()
    rig.servers["b"].answer()
    assert rig.answered_by() == ["b v1"]


def test_another_version_waits_until_none_of_the_first_is_left() -> None:
    rig = Rig("ab")
    rig.pool.refresh()
    rig.servers["b"].version = "2"
    rig.start()
    rig.send(3)
    assert rig.held() == {"a": 3}
    assert "serves version 2" in str(rig.pool.members["b:1"].reason)
    rig.servers["a"].answer(DOWN)
    rig.move()
    assert rig.held() == {"a": 2, "b": 1}
    rig.servers["b"].answer()
    assert rig.answered_by() == ["b v2"]


def test_versions_side_by_side_where_that_is_wanted() -> None:
    rig = Rig("ab", mixed_versions=True)
    rig.pool.refresh()
    rig.servers["b"].version = "2"
    rig.start()
    rig.send(2)
    assert rig.held() == {"a": 1, "b": 1}


def test_a_version_that_changes_under_a_server_is_noticed() -> None:
    rig = Rig("ab").start()
    rig.servers["a"].version = "2"
    rig.check("a")
    rig.look("a")
    rig.send(2)
    assert rig.held() == {"b": 2}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (
            replace(SPEC, input=ModelInput("IN", "UINT8", (4, 4, 3))),
            r"input .*\(4, 4, 3\).*, served: .*\(2, 2, 3\)",
        ),
        (replace(SPEC, max_batch=4), "max_batch_size 4, served: 8"),
    ],
)
def test_a_server_with_another_model_gets_no_images(spec: ModelSpec, told: str) -> None:
    rig = Rig("ab")
    rig.pool.refresh()
    rig.servers["b"].spec = spec
    rig.start()
    rig.send(3)
    assert rig.held() == {"a": 3}
    with pytest.raises(UnservableModelError, match=told):
        rig.pool.look(rig.pool.members["b:1"])


def test_more_instances_are_more_slots() -> None:
    rig = Rig("ab")
    rig.pool.refresh()
    rig.servers["b"].spec = replace(SPEC, instances=4, max_batch=64)
    rig.start()
    assert rig.slots == [10]


def test_the_start_needs_one_server() -> None:
    rig = Rig("ab")
    rig.pool.refresh()
    rig.servers["a"].down = DOWN
    assert rig.pool.load_spec() == SPEC
    rig.send(2)
    assert rig.held() == {"b": 2}


def test_the_start_waits_while_one_may_come_and_is_refused_when_none_can() -> None:
    rig = Rig("ab")
    rig.pool.refresh()
    unservable = UnservableModelError("no model 'net'")

    def refuse(timeout_s: float = 5) -> ModelSpec:  # noqa: ARG001
        raise unservable

    rig.servers["a"].load_spec = refuse  # type: ignore[method-assign]
    rig.servers["b"].down = DOWN
    with pytest.raises(InferenceError, match="a:1: no model 'net'; b:1: connection refused"):
        rig.pool.load_spec()
    rig.servers["b"].load_spec = refuse  # type: ignore[method-assign]
    with pytest.raises(UnservableModelError, match="no model 'net'"):
        rig.pool.load_spec()


def test_the_start_passes_over_a_server_whose_model_is_broken() -> None:
    rig = Rig("ab")
    rig.pool.refresh()
    rig.servers["a"].probe = BROKEN
    assert rig.pool.load_spec() == SPEC
    rig.send()
    assert rig.held() == {"b": 1}


def test_a_model_that_always_fails_on_the_probe_is_refused() -> None:
    rig = Rig("a")
    rig.pool.refresh()
    rig.servers["a"].probe = BROKEN
    with pytest.raises(InferenceError, match="the model raised"):
        rig.pool.load_spec()
    with pytest.raises(UnservableModelError, match="fails on a probe image"):
        rig.pool.load_spec()


def test_a_batch_that_no_request_can_be_made_of_takes_no_slot() -> None:
    rig = Rig("ab").start()
    with pytest.raises(TypeError):
        rig.pool.infer(IMPOSSIBLE, rig.results.append)
    rig.send(2)
    assert rig.held() == {"a": 1, "b": 1}


def test_a_check_tells_what_is_known() -> None:
    rig = Rig("ab").start()
    told: list[InferenceError | None] = []
    rig.pool.check(told.append)
    for name in "ab":
        rig.servers[name].down = DOWN
        rig.check(name)
    rig.pool.check(told.append)
    assert told[0] is None
    assert "a:1: connection refused; b:1: connection refused" in str(told[1])


def test_after_close_nothing_is_sent() -> None:
    rig = Rig("ab").start()
    rig.send(2)
    rig.pool.close()
    assert all(server.closed for server in rig.servers.values())
    rig.servers["a"].answer(InferenceError("CANCELLED", "the connection was closed"))
    assert rig.answered_by() == ["CANCELLED"]
    rig.send()
    assert len(rig.results) == 2
    assert sum(rig.held().values()) == 1
