"""Raw pixels for a model of floating-point numbers: converted beside the loop, each answered."""

from threading import Event
from typing import Any

import numpy as np
import pytest

from bridge import converting
from imaging.rules import ImageRules, Preprocess
from imaging.tensor import PRESETS, TensorRules, to_tensor
from tests.bridge.fakes import NOW_NS, SHAPE, Bench, Model, good, raw_image
from wire.image import NDARRAY
from wire.record import StoredRecord

FLOATS = TensorRules("float32", channels_first=True, normalization=PRESETS["imagenet"])
RULES = ImageRules(SHAPE, Preprocess(), 1 << 20, 1 << 20, FLOATS)


def tensor(offset: int) -> Any:
    """A record of numbers that the model takes as they are."""
    form = [("content-type", NDARRAY.encode()), ("ce_dtype", b"float32"), ("ce_shape", b"3,2,2")]
    return StoredRecord("images", 0, offset, None, bytes(48), [*form], NOW_NS // 1_000_000)


def pixels(offset: int) -> Any:
    record = raw_image(offset)
    return StoredRecord(
        record.topic(), 0, offset, None, bytes([offset] * 12), record.headers(), NOW_NS // 1_000_000
    )


def test_raw_pixels_reach_the_model_as_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "SLICE_BYTES", 30)  # three images
    seen: list[Any] = []

    def answer(images: Any) -> Any:
        seen.extend(images)
        return good(images)

    bench = Bench(Model(answer), rules=RULES)
    bench.run(*(pixels(offset) for offset in range(20)))
    assert not bench.failures
    assert bench.outcomes() == dict.fromkeys(range(20), "predictions")
    for offset, image in enumerate(seen):
        expected = to_tensor(np.full((1, *SHAPE), offset, np.uint8), FLOATS)[0]
        np.testing.assert_array_equal(image, expected)


def test_the_loop_goes_on_while_pixels_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = Event()
    order: list[str] = []

    def slowly(*given: Any) -> Any:
        assert go_on.wait(30), "the loop waits for the conversion"
        return to_tensor(*given)

    def answer(images: Any) -> Any:
        order.extend("tensor" if isinstance(image, bytes) else "pixels" for image in images)
        go_on.set()
        return good(images)

    monkeypatch.setattr(converting, "to_tensor", slowly)
    bench = Bench(Model(answer), rules=RULES)
    # While the server has nothing to do, a batch does not wait for those that are converted.
    bench.run(pixels(0), tensor(1))
    assert order == ["tensor", "pixels"]
    assert bench.outcomes() == dict.fromkeys(range(2), "predictions")


def test_pixels_of_another_length_are_refused_before_they_are_converted() -> None:
    short = pixels(0)
    short = StoredRecord("images", 0, 0, None, bytes(11), short.headers(), NOW_NS // 1_000_000)
    bench = Bench(Model(), rules=RULES)
    bench.run(short, pixels(1))
    assert bench.outcomes() == {0: "decode/ndarray", 1: "predictions"}


def test_an_error_of_the_conversion_costs_its_images_and_not_the_bridge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(converting, "to_tensor", fail)
    bench = Bench(Model(), rules=RULES)
    bench.run(pixels(0), tensor(1))
    assert not bench.failures
    assert bench.outcomes() == {0: "decode/internal", 1: "predictions"}


def test_what_a_rebalance_took_away_meanwhile_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(Model(), rules=RULES)

    def revoke(*given: Any) -> Any:
        bench.assignment.revoke([("images", 0)])
        return to_tensor(*given)

    monkeypatch.setattr(converting, "to_tensor", revoke)
    bench.run(pixels(0))
    assert bench.outcomes() == {}
    assert not bench.failures
    assert bench.model.asked == []
