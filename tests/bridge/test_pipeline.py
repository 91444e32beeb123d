"""What one image causes stays with that image: the loop through its protocols, without servers."""

from collections.abc import Sequence
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import pytest
from structlog.testing import capture_logs

import bridge.outlet
import bridge.pipeline
import bridge.predicting
import bridge.reading
import wire.deadletter
import wire.prediction
from bridge.fuse import Fuse, FuseBlownError
from bridge.images import EndedRequest
from bridge.inference import Answer, InferenceError
from imaging.rules import ImageError, Input
from tests.bridge.fakes import PIXELS, Bench, Model, Result, good, raw_image
from wire.record import StoredRecord


def total(bench: Bench, name: str, **labels: str) -> float:
    return bench.metrics.registry.get_sample_value(name, labels) or 0.0


def test_images_are_answered_in_one_batch() -> None:
    model = Model()
    bench = Bench(model)
    bench.run(*(raw_image(offset) for offset in range(5)))
    assert bench.outcomes() == dict.fromkeys(range(5), "predictions")
    assert model.asked == [5]
    assert not bench.failures


@pytest.mark.parametrize(
    "text", [b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59Z", b"0000-01-01T00:00:00Z"]
)
@pytest.mark.parametrize("name", ["ce_time", "ce_senttime"])
def test_an_image_with_a_time_that_cannot_be_believed_is_answered(name: str, text: bytes) -> None:
    bench = Bench(Model())
    bench.run(raw_image(0), raw_image(1, (name, text)), raw_image(2))
    assert bench.outcomes() == dict.fromkeys(range(3), "predictions")
    assert total(bench, "bridge_prediction_latency_seconds_sum") >= 0


def test_a_record_whose_headers_cannot_be_read_is_a_dead_letter_of_the_contract() -> None:
    bench = Bench(Model())
    lost = StoredRecord("images", 0, 1, b"k", PIXELS, unreadable="its headers cannot be read")
    bench.run(raw_image(0), lost, raw_image(2))
    assert bench.outcomes() == {0: "predictions", 1: "contract/contract", 2: "predictions"}


@pytest.mark.parametrize(
    ("where", "reason"), [("read_image", "contract/internal"), ("to_input", "decode/internal")]
)
def test_whatever_is_raised_while_an_image_is_read_costs_that_image(
    monkeypatch: pytest.MonkeyPatch, where: str, reason: str
) -> None:
    real = getattr(bridge.reading, where)
    calls = []

    def fragile(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) in (2, 4):
            raise ZeroDivisionError("nobody foresaw this")
        return real(*arguments, **options)

    monkeypatch.setattr(bridge.reading, where, fragile)
    bench = Bench(Model())
    with capture_logs() as logs:
        bench.run(*(raw_image(offset) for offset in range(5)))
    assert bench.outcomes() == {
        0: "predictions", 1: reason, 2: "predictions", 3: reason, 4: "predictions",
    }  # fmt: skip
    told = [line for line in logs if line["event"] == "unforeseen_error"]
    assert len(told) == 1, "once a kind"
    assert isinstance(told[0]["exc_info"], ZeroDivisionError)
    stage = reason.partition("/")[0]
    labels = {"stage": stage, "class": "internal"}
    assert total(bench, "bridge_images_dead_lettered_total", **labels) == 2


def test_whatever_is_raised_while_an_answer_is_written_costs_that_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = wire.prediction.encode_prediction

    def fragile(event: Any, *rest: Any) -> Any:
        if event.id == "images/0/1":
            raise OverflowError("Python int too large to convert to C long")
        return real(event, *rest)

    monkeypatch.setattr(bridge.predicting, "encode_prediction", fragile)
    bench = Bench(Model())
    bench.run(*(raw_image(offset) for offset in range(3)))
    assert bench.outcomes() == {0: "predictions", 1: "publish/internal", 2: "predictions"}


def test_even_a_letter_that_cannot_be_written_says_where_the_image_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = wire.deadletter.encode_dead_letter

    def fragile(record: StoredRecord, *rest: Any) -> Any:
        if record.headers():
            raise RuntimeError
        return real(record, *rest)

    monkeypatch.setattr(bridge.outlet, "encode_dead_letter", fragile)
    bench = Bench(Model())
    bench.run(raw_image(7, ("ce_time", b"yesterday")))
    ((_, letter),) = bench.delivery.settled
    assert dict(letter.record.headers)["dlq.offset"] == b"7"
    assert dict(letter.record.headers)["dlq.error.class"] == b"contract"


class BrokenTracing:
    def __getattr__(self, name: str) -> Any:
        if name == "answer":
            return lambda image, *_: image.event

        def fail(*_: Any) -> Any:
            raise RuntimeError(name)

        return fail


def test_tracing_that_fails_costs_no_image() -> None:
    bench = Bench(Model(), tracing=BrokenTracing())
    bench.run(raw_image(0), raw_image(1, ("ce_time", b"yesterday")))
    assert bench.outcomes() == {0: "predictions", 1: "contract/contract"}


def test_want_of_memory_is_no_fault_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(bridge.reading, "read_image", starved)
    bench = Bench(Model())
    bench.run(raw_image(0))
    assert [type(failure) for failure in bench.failures] == [MemoryError]
    assert bench.outcomes() == {}


def test_what_nobody_foresaw_counts_for_the_fuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(bridge.reading, "read_image", fragile)
    bench = Bench(Model(), fuse=Fuse(3, 0, 100))
    bench.run(*(raw_image(offset) for offset in range(5)))
    assert [type(failure) for failure in bench.failures] == [FuseBlownError]
    assert len(bench.outcomes()) == 2


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_is_a_dead_letter_and_its_neighbours_are_answered(
    score: float,
) -> None:
    def answer(images: Sequence[Input]) -> Answer:
        tops: list[Any] = list(good(images).results)
        tops[1] = ({"label": "cat", "class_id": 3, "score": score},)
        return Answer("1", tops)

    bench = Bench(Model(answer))
    bench.run(*(raw_image(offset) for offset in range(3)))
    assert bench.outcomes() == {0: "predictions", 1: "infer/not_finite", 2: "predictions"}


def test_an_image_that_the_model_refuses_by_name_is_a_dead_letter_of_that_name() -> None:
    def answer(images: Sequence[Input]) -> Answer:
        return Answer("1", [ImageError("truncated", "half of it"), *good(images[1:]).results])

    bench = Bench(Model(answer))
    bench.run(raw_image(0), raw_image(1))
    assert bench.outcomes() == {0: "decode/truncated", 1: "predictions"}


def test_a_prediction_that_no_reader_would_take_is_a_dead_letter() -> None:
    def answer(images: Sequence[Input]) -> Answer:
        tops: list[Any] = list(good(images).results)
        tops[0] = ({"label": "c" * (1 << 20), "class_id": 3, "score": 0.5},)
        return Answer("1", tops)

    bench = Bench(Model(answer))
    bench.run(raw_image(0), raw_image(1))
    assert bench.outcomes() == {0: "publish/too_large", 1: "predictions"}


def wrong_rows(images: Sequence[Input]) -> Result:
    return good(images) if len(images) == 1 else good(images[:1])


def cannot_ask(images: Sequence[Input]) -> Result:
    return good(images) if len(images) < 3 else ValueError("a message over 2 GB")


@pytest.mark.parametrize("answer", [wrong_rows, cannot_ask])
def test_a_batch_that_cannot_be_asked_or_told_apart_is_halved_until_it_can(answer: Any) -> None:
    model = Model(answer)
    bench = Bench(model)
    bench.run(*(raw_image(offset) for offset in range(4)))
    assert bench.outcomes() == dict.fromkeys(range(4), "predictions")
    assert model.asked[0] == 4


def test_rows_that_never_fit_bury_each_image_with_that_reason() -> None:
    bench = Bench(Model(lambda images: good([*images, b""])))
    bench.run(raw_image(0), raw_image(1))
    assert bench.outcomes() == {0: "infer/INTERNAL", 1: "infer/INTERNAL"}
    for _, letter in bench.delivery.settled:
        message = dict(letter.record.headers)["dlq.error.message"]
        assert message == b"an answer of 2 rows for 1 images"


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "INTERNAL"])
def test_the_image_that_fails_its_batch_is_found_and_the_others_are_answered(status: str) -> None:
    def answer(images: Sequence[Input]) -> Result:
        if any(bytes(image)[0] == 9 for image in images):
            return InferenceError(status, "this one")
        return good(images)

    bench = Bench(Model(answer))
    poison = raw_image(2)
    poison.record_value = b"\x09" * 12
    bench.run(*(raw_image(offset) for offset in range(2)), poison, raw_image(3))
    assert bench.outcomes() == {
        0: "predictions", 1: "predictions", 2: f"infer/{status}", 3: "predictions",
    }  # fmt: skip


def test_a_server_that_is_away_costs_no_image() -> None:
    outages = iter([InferenceError("UNAVAILABLE", "away")] * 6)  # twice what an image may fail
    bench = Bench(Model(lambda images: next(outages, None) or good(images)))
    bench.run(raw_image(0), raw_image(1))
    assert bench.outcomes() == {0: "predictions", 1: "predictions"}
    assert bench.pipeline.problem is None


def bad_image(offset: int) -> StoredRecord:
    record: StoredRecord = raw_image(offset, ("ce_time", b"yesterday"))
    return record


def test_until_the_first_answer_ten_dead_letters_are_too_many() -> None:
    bench = Bench(Model(), fuse=Fuse(1000, 0, 100))
    bench.run(*(bad_image(offset) for offset in range(50)))
    assert [type(failure) for failure in bench.failures] == [FuseBlownError]
    assert "50 images in a row" in str(bench.failures[0])
    assert list(bench.outcomes()) == list(range(9))


def test_bad_images_that_are_read_before_the_first_good_one_is_answered_blow_nothing() -> None:
    bench = Bench(Model(), fuse=Fuse(1000, 0, 100))
    bench.run(*(bad_image(offset) for offset in range(50)), raw_image(50))
    assert not bench.failures
    assert bench.outcomes() == dict.fromkeys(range(50), "contract/contract") | {50: "predictions"}


def test_bad_images_wait_for_a_server_that_is_away_before_they_blow_the_fuse() -> None:
    outages = iter([InferenceError("UNAVAILABLE", "away")] * 6)  # twice what an image may fail
    bench = Bench(
        Model(lambda images: next(outages, None) or good(images)), fuse=Fuse(1000, 0, 100)
    )
    bench.run(*(bad_image(offset) for offset in range(50)), raw_image(50))
    assert not bench.failures
    assert len(bench.outcomes()) == 51


def test_an_image_that_takes_the_server_down_is_dead_lettered_and_the_others_are_answered() -> None:
    back_at = 0.0

    def answer(images: Sequence[Input]) -> Result:
        nonlocal back_at
        if any(bytes(image)[0] == 9 for image in images):
            back_at = bench.seconds + 35
        return InferenceError("UNAVAILABLE", "Socket closed") if away() else good(images)

    def away() -> bool:
        return bench.seconds < back_at

    bench = Bench(Model(answer, ready=lambda: not away()))
    poison = raw_image(20)
    poison.record_value = b"\x09" * 12
    others = [offset for offset in range(40) if offset != 20]
    bench.run(*(raw_image(offset) for offset in others[:20]), poison,
              *(raw_image(offset) for offset in others[20:]))  # fmt: skip
    assert bench.outcomes() == dict.fromkeys(others, "predictions") | {20: "infer/UNAVAILABLE"}


def test_want_of_memory_when_an_answer_comes_loses_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    starved = iter([True, True])

    class Scarce(SimpleQueue[Any]):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            if isinstance(item, EndedRequest) and next(starved, False):
                raise MemoryError
            super().put(item, block, timeout)

    monkeypatch.setattr(bridge.pipeline, "NO_MEMORY_S", 0.0)
    monkeypatch.setattr(bridge.pipeline, "SimpleQueue", Scarce)
    bench = Bench(Model())
    bench.run(raw_image(0), raw_image(1))
    assert bench.outcomes() == {0: "predictions", 1: "predictions"}
    assert next(starved, None) is None


def test_the_sums_of_images_hold_at_every_scrape() -> None:
    """Received = answered + dead-lettered + dropped + in flight, while other threads work."""
    bench = Bench(Model())
    over = Event()
    wrong: list[dict[str, float]] = []
    scrapes = 0

    def scrape() -> None:
        nonlocal scrapes
        while not over.is_set():
            found: dict[str, float] = {}
            for family in bench.metrics.images.collect():
                for sample in family.samples:
                    found[sample.name] = found.get(sample.name, 0) + sample.value
            done = ("answered_total", "dead_lettered_total", "dropped_total", "in_flight")
            parts = sum(found.get(f"bridge_images_{name}", 0) for name in done)
            scrapes += 1
            if parts != found["bridge_images_received_total"]:
                wrong.append(found)

    scraper = Thread(target=scrape)
    scraper.start()
    images = [bad_image(n) if n % 7 == 3 else raw_image(n) for n in range(3000)]
    bench.run(*images)
    over.set()
    scraper.join()
    assert scrapes > 10
    assert not wrong
    accounts = bench.metrics.images
    assert accounts.dead == {("contract", "contract"): 429}
    assert (accounts.answered, accounts.in_flight, accounts.bytes) == (2571, 0, 0)


def test_no_time_in_a_histogram_is_negative() -> None:
    bench = Bench(Model())
    bench.metrics.stages.observe([-5.0, 0.25, -1e9], "slot_wait")
    assert total(bench, "bridge_stage_seconds_sum", stage="slot_wait") == 0.25
    assert total(bench, "bridge_stage_seconds_count", stage="slot_wait") == 3
