from dataclasses import replace

import numpy as np

from consumer.measuring.matching import UNCLASSED
from consumer.report import gallery
from consumer.report.confusion import confusion
from tests.consumer.runs import make_run


def test_the_slowest_images_come_first_and_are_bounded() -> None:
    run = make_run(np.random.default_rng(0).permutation(100 * 1000).tolist()[:500])
    found = gallery.cards(run.rows, gallery.slowest(run.chosen), {})
    took = [card.latency_ms for card in found]
    assert len(found) == gallery.SLOWEST
    assert took == sorted(took, reverse=True)
    assert took[0] == run.chosen.from_intended.max() / 1000
    assert all(sum(ms for _, ms in card.parts) == card.latency_ms for card in found)


def test_the_wrong_images_are_those_whose_label_differs_the_surest_first() -> None:
    run = make_run(
        [1000] * 90,
        answers=[("cat", "cat"), ("cat", "dog"), ("dog", "cat")],
        scores=[0.99, 0.5, 0.7],
    )
    found = gallery.cards(run.rows, gallery.wrong(run.rows), {})
    assert len(found) == gallery.WRONG
    assert {(card.label, card.predicted) for card in found} == {("dog", "cat")}
    fewer = gallery.cards(make_run([1000] * 3).rows, gallery.wrong(make_run([1000] * 3).rows), {})
    assert fewer == []


def test_places_are_those_of_the_images_shown() -> None:
    run = make_run([1000, 3000, 2000])
    assert gallery.places(run.rows, run.chosen) == {(0, 0), (0, 1), (0, 2)}


def test_a_run_without_labels_has_no_confusion() -> None:
    assert confusion(make_run([]).rows) is None


def test_confusions_are_counted_by_true_and_predicted_class() -> None:
    found = confusion(
        make_run([1] * 40, answers=[("b", "a"), ("a", "a"), ("b", "b"), ("b", "a")]).rows
    )
    assert found is not None
    assert found.labels == ["a", "b"]
    assert found.counts.tolist() == [[10, 0], [20, 10]]
    assert found.pairs == [("b", "a", 20)]


def test_what_was_not_classified_has_no_score() -> None:
    run = make_run([1000, 2000])
    rows = replace(run.rows, state=run.rows.state | np.array([0, UNCLASSED], np.uint8))
    shown = gallery.cards(rows, np.array([0, 1]), {})
    assert shown[0].score is not None
    assert shown[1].score is None
