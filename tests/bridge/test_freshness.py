"""What is too old is not worked on, whoever it waits for; nothing else changes by it."""

from typing import NamedTuple

import pytest

from bridge.batching import Batcher
from bridge.decoders.pool import Backlog
from bridge.freshness import GRACE, Freshness, seconds
from bridge.fuse import Fuse
from bridge.inference import InferenceError
from tests.bridge.fakes import MAX_BATCH, NOW_NS, Bench, Model, good, raw_image
from tests.bridge.test_pipeline import total
from wire.clock import format_time
from wire.record import StoredRecord

SECOND = 1_000_000_000
TWO = Freshness(2 * SECOND)


def aged(offset: int, age_s: float) -> StoredRecord:
    due = format_time(NOW_NS - int(age_s * SECOND)).encode()
    record: StoredRecord = raw_image(offset, ("ce_time", due))
    return record


@pytest.mark.parametrize(
    ("text", "expected"), [("2s", 2), ("500ms", 0.5), ("1.5", 1.5), ("1m", 60), (3, 3), ("0", 0)]
)
def test_durations_are_read(text: object, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "2 weeks", "-1s", "s", "1s1"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        seconds(text)


def test_only_what_is_older_is_too_old() -> None:
    assert not TWO.expired(NOW_NS, NOW_NS + 2 * SECOND)
    assert TWO.expired(NOW_NS, NOW_NS + 2 * SECOND + 1)
    assert not TWO.expired(0, NOW_NS), "a time that nobody knows"
    assert not TWO.expired(NOW_NS + SECOND, NOW_NS), "from the future"
    assert not Freshness().expired(1, NOW_NS), "it is off"


def test_what_was_decoded_in_time_is_sent_a_little_later_too() -> None:
    late = NOW_NS + int((2 + 2 * GRACE) * SECOND)
    assert not TWO.overdue(NOW_NS, late, decoded=True)
    assert TWO.overdue(NOW_NS, late, decoded=False)
    assert TWO.overdue(NOW_NS, late + 1, decoded=True)


@pytest.mark.parametrize(
    ("drop", "outcome"), [(False, "decode/expired"), (True, "dropped decode/expired")]
)
def test_an_old_image_never_reaches_the_model(drop: bool, outcome: str) -> None:
    model = Model()
    bench = Bench(model, freshness=Freshness(2 * SECOND, drop))
    bench.run(aged(0, 1.9), aged(1, 2.1), aged(2, 3600), aged(3, -5))
    assert bench.outcomes() == {0: "predictions", 1: outcome, 2: outcome, 3: "predictions"}
    assert model.asked == [2]
    expired = {"stage": "decode", "class": "expired"}
    dead = total(bench, "bridge_images_dead_lettered_total", **expired)
    dropped = total(bench, "bridge_images_expired_total", stage="decode")
    assert (dead, dropped) == ((0, 2) if drop else (2, 0))
    assert total(bench, "bridge_images_received_total") == 4
    assert total(bench, "bridge_images_answered_total") == 2


def test_a_dead_letter_says_how_old_the_image_was() -> None:
    bench = Bench(Model(), freshness=TWO)
    bench.run(aged(0, 3))
    ((_, letter),) = bench.delivery.settled
    message = dict(letter.record.headers)["dlq.error.message"]
    assert message == b"3.0 s old, 2 s are allowed (--max-age)"


def test_images_whose_time_cannot_be_believed_are_answered() -> None:
    bench = Bench(Model(), freshness=TWO)
    never = raw_image(0, ("ce_time", b"0001-01-01T00:00:00Z"))
    nobody_knows = raw_image(1)
    nobody_knows.timestamp_ms = 0
    bench.run(never, nobody_knows)
    assert bench.outcomes() == {0: "predictions", 1: "predictions"}


def test_expiry_does_not_blow_the_fuse() -> None:
    bench = Bench(Model(), fuse=Fuse(5, 0.5, 20), freshness=TWO)
    bench.run(*(aged(offset, 9) for offset in range(100)), aged(100, 0))
    assert not bench.failures
    assert bench.outcomes() == {**dict.fromkeys(range(100), "decode/expired"), 100: "predictions"}


def test_an_image_that_gets_old_while_triton_is_away_is_not_sent() -> None:
    bench = Bench(Model(), freshness=TWO)
    away = iter([InferenceError("UNAVAILABLE", "away")])

    def answer(images: object) -> object:
        failure = next(away, None)
        if failure is not None:
            bench.now += 10 * SECOND
        return failure or good(images)  # type: ignore[arg-type]

    bench.model.answer = answer  # type: ignore[assignment]
    bench.run(*(aged(offset, 1) for offset in range(3)))
    assert bench.outcomes() == dict.fromkeys(range(3), "infer/expired")


@pytest.mark.parametrize(
    ("took_s", "age_s", "outcome"),
    [
        (0.1, 1.7, "predictions"),
        (0.1, 1.85, "infer/expired"),
        (30, -28.3, "predictions"),
        (30, -28.15, "infer/expired"),
    ],
)
def test_the_time_with_triton_counts_up_to_a_tenth(
    took_s: float, age_s: float, outcome: str
) -> None:
    bench = Bench(Model(), freshness=TWO)

    def answer(images: object) -> object:
        bench.now += int(took_s * SECOND)
        return good(images)  # type: ignore[arg-type]

    bench.model.answer = answer  # type: ignore[assignment]
    first = [aged(offset, 1) for offset in range(MAX_BATCH)]
    bench.run(*first, aged(MAX_BATCH, age_s))
    assert bench.outcomes() == {
        **dict.fromkeys(range(MAX_BATCH), "predictions"),
        MAX_BATCH: outcome,
    }


def test_what_waits_is_taken_out_up_to_the_first_that_may_be_sent() -> None:
    batcher: Batcher[int] = Batcher(8, 1)
    for age in (9, 8, 1, 7):
        batcher.add(age)
    batcher.skip_while(lambda age: age > 2)
    assert list(batcher.waiting) == [1, 7]


def test_what_got_old_before_a_decoder_was_free_is_not_decoded() -> None:
    backlog: Backlog[Item] = Backlog()
    for age in (9, 1, 8, 2):
        backlog.add(Item(age))
    piece = backlog.next_slice(lambda item: item.age > 2)
    assert piece is not None
    assert ([item.age for item in piece.items], piece.left) == ([1, 2], {0, 1})
    backlog.add(Item(9))
    assert backlog.next_slice(lambda item: item.age > 2) is None
    assert not backlog


class Item(NamedTuple):
    age: int
    value: bytes = b""
