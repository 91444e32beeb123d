from hypothesis import given
from hypothesis import strategies as st

from producer.listener import Outcome, Results, Tally
from producer.report import Report

OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(["answered", "dead-lettered", "expired"])


@given(events=st.lists(st.tuples(st.integers(0, 30), OUTCOMES), max_size=80))
def test_each_image_counts_once_and_every_repetition_as_a_duplicate(
    events: list[tuple[int, Outcome]],
) -> None:
    results = Results(["cat", None])
    for sequence, outcome in events:
        results.add(sequence, outcome, "cat")
    tally = results.tally()
    first = dict(reversed(events))
    assert tally.resolved == len(first)
    assert tally.answered == sum(outcome == "answered" for outcome in first.values())
    assert tally.expired == sum(outcome == "expired" for outcome in first.values())
    assert tally.duplicates == len(events) - len(first)
    # Every other image is labelled, and the answer is always right.
    answered_even = sum(o == "answered" and s % 2 == 0 for s, o in first.items())
    assert tally.labelled == tally.correct == answered_even


def report(*, acknowledged: int, tally: Tally | None, trouble: str | None = None) -> Report:
    refused = {"too large": 10 - acknowledged} if acknowledged < 10 else {}
    return Report("r", 10, acknowledged, refused, 1.0, 0.0, tally, trouble)


def test_a_run_is_complete_only_if_all_is_acknowledged_and_nothing_is_missing() -> None:
    heard = Tally(9, 1, 0, 0, 0, 0)
    lost = Tally(8, 1, 0, 0, 0, 0)
    assert report(acknowledged=10, tally=None).complete
    assert report(acknowledged=10, tally=heard).complete
    old = Tally(8, 1, 0, 0, 0, 0, expired=1)
    assert report(acknowledged=10, tally=old).complete
    assert "expired        1" in report(acknowledged=10, tally=old).lines()
    assert not report(acknowledged=10, tally=lost).complete
    assert report(acknowledged=10, tally=lost).missing == 1
    (line,) = (one for one in report(acknowledged=10, tally=lost).lines() if "missing" in one)
    assert "--expired drop" in line
    assert not any("--expired drop" in one for one in report(acknowledged=10, tally=old).lines())
    assert not report(acknowledged=9, tally=None).complete
    assert not report(acknowledged=10, tally=heard, trouble="no longer listening").complete


def test_the_report_names_every_reason_for_which_an_image_was_refused() -> None:
    lines = "\n".join(report(acknowledged=7, tally=None).lines())
    assert "3: too large" in lines


def test_an_answer_without_classes_is_neither_right_nor_wrong() -> None:
    results = Results(["cat"])
    results.add(0, "answered", "cat")
    results.add(1, "answered", None)
    tally = results.tally()
    assert (tally.answered, tally.labelled, tally.correct) == (2, 1, 1)
