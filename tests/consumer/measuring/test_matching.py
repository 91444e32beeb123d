from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.measuring.matching import ANSWERED, DEAD, SEEN, TIMES, Matcher
from consumer.measuring.statistics import accuracy
from consumer.report.confusion import labelled
from tests.wire.test_answers import ANSWERS
from wire.prediction import STAMPS, Prediction, ScoredLabel

Event = tuple[Literal["image", "prediction", "dead_letter", "expired"], int]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["image", "prediction", "dead_letter", "expired"]), st.integers(0, 15)
    ),
    max_size=80,
)


def prediction(id: str, *, label: str = "cat", at: int = 1000) -> Prediction:
    stamps = {name: at + 10 * step for step, name in enumerate(STAMPS)}
    return Prediction(id, "m", "1", (ScoredLabel(label=label, class_id=3, score=0.5),), stamps, 4)


def play(events: Sequence[Event], matcher: Matcher) -> Matcher:
    for kind, number in events:
        if kind == "image":
            matcher.image(str(number), 1000, 1010, "cat")
        elif kind == "prediction":
            matcher.prediction(prediction(str(number)), 2000)
        else:
            reason = "expired" if kind == "expired" else "NotAnImage"
            matcher.dead_letter(str(number), reason, 2000)
    return matcher


@given(events=EVENTS)
def test_counts_add_up_under_any_interleaving(events: list[Event]) -> None:
    matcher = play(events, Matcher(1000))
    images = {n for kind, n in events if kind == "image"}
    outcomes = [(n, kind) for kind, n in events if kind != "image"]
    first = dict(reversed(outcomes))
    assert matcher.sent == len(images)
    of_each = (matcher.answered, matcher.dead_lettered, matcher.expired, matcher.missing)
    assert matcher.sent == sum(of_each)
    assert matcher.answered == sum(first.get(n) == "prediction" for n in images)
    assert matcher.dead_lettered == sum(first.get(n) == "dead_letter" for n in images)
    assert matcher.expired == sum(first.get(n) == "expired" for n in images)
    assert matcher.duplicates == len(outcomes) - len(first)
    assert matcher.unmatched == len(first.keys() - images)
    assert matcher.resent == sum(kind == "image" for kind, _ in events) - len(images)


@given(events=EVENTS)
def test_the_rows_say_what_the_counters_say(events: list[Event]) -> None:
    matcher = play(events, Matcher(1000))
    rows = matcher.rows()
    seen = rows.state & SEEN != 0
    assert len(rows.ids) == len(rows.state) == len(set(rows.ids))
    assert int(seen.sum()) == matcher.sent
    assert int((seen & (rows.state & ANSWERED != 0)).sum()) == matcher.answered
    assert int((seen & (rows.state & DEAD != 0)).sum()) == matcher.dead_lettered
    assert not ((rows.state & ANSWERED != 0) & (rows.state & DEAD != 0)).any()


@given(events=EVENTS)
def test_without_images_an_outcome_alone_makes_an_image(events: list[Event]) -> None:
    outcomes: list[Event] = [event for event in events if event[0] != "image"]
    matcher = play(outcomes, Matcher(1000, expect_images=False))
    assert matcher.sent == matcher.resolved == len({n for _, n in outcomes})
    assert matcher.missing == matcher.unmatched == 0


@given(events=EVENTS, limit=st.integers(1, 5))
def test_memory_is_bounded_and_what_lies_beyond_is_counted(events: list[Event], limit: int) -> None:
    matcher = play(events, Matcher(limit))
    kept = list(dict.fromkeys(n for _, n in events))[:limit]
    assert len(matcher.rows().ids) == len(kept)
    assert matcher.unmeasured == sum(n not in kept for _, n in events)


def test_a_row_holds_the_times_label_and_score() -> None:
    matcher = Matcher(10)
    matcher.prediction(prediction("a", label="dog", at=5000), 9000)
    matcher.image("a", 4000, 4005, "cat")
    rows = matcher.rows()
    assert {name: int(rows.times[name][0]) for name in TIMES} == {
        "intended": 4000,
        "sent": 4005,
        "received": 5020,
        "decoded": 5030,
        "requested": 5040,
        "inferred": 5050,
        "consumed": 9000,
    }
    assert rows.names[rows.best[0]] == "dog"
    assert rows.names[rows.label[0]] == "cat"
    assert rows.score[0] == np.float32(0.5)
    assert rows.batch[0] == 4


def test_numbers_no_clock_can_show_are_held_inside_the_columns() -> None:
    matcher = Matcher(10)
    wild = prediction("a")
    matcher.prediction(wild._replace(batch_size=1 << 70, stamps=dict.fromkeys(STAMPS, 1 << 90)), 1)
    matcher.image("b", 1 << 90, -1, None)
    rows = matcher.rows()
    assert rows.times["inferred"][0] > 0
    assert rows.times["intended"][1] > 0
    assert rows.times["sent"][1] == 0


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("detections", "1 object: cat 0.90"),
        ("nothing", "no objects"),
        ("list", "vector of 3 numbers"),
        ("tensors", "4 tensors: a FP32 [2, 1], b BYTES [1], c BOOL [1], d FP32 [0, 4]"),
    ],
)
def test_an_answer_without_classes_is_measured_and_is_neither_right_nor_wrong(
    name: str, line: str
) -> None:
    matcher = Matcher(10)
    for number, answer in enumerate((None, ANSWERS[name])):
        matcher.image(str(number), 1000, 1010, "cat")
        top = prediction("").top if answer is None else ()
        matcher.prediction(prediction(str(number))._replace(top=top, answer=answer), 2000)
    rows = matcher.rows()
    assert matcher.answered == 2
    assert accuracy(rows) == (1, 1)
    assert labelled(rows).tolist() == [True, False]
    assert rows.names[rows.best[1]] == line


def test_when_all_has_come_another_run_s_images_are_left_out_and_duplicates_counted() -> None:
    matcher = Matcher(10)
    matcher.image("a", 1, 1, None)
    matcher.dead_letter("a", "why", 2)
    matcher.close()
    matcher.image("b", 3, 3, None)
    matcher.dead_letter("b", "why", 4)
    matcher.dead_letter("a", "why", 5)
    assert (matcher.sent, matcher.resolved, matcher.missing, matcher.duplicates) == (1, 1, 0, 1)
    assert matcher.rows().ids == ["a"]
