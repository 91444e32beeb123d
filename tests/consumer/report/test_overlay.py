"""Boxes over pictures and images beside those like them: right, bounded, and inert."""

import io
from collections.abc import Sequence

import numpy as np
import pytest

from consumer.measuring.answers import (
    FIRST,
    MAX_BOXES,
    MAX_LABEL,
    SLOWEST,
    Answers,
)
from consumer.report import gallery
from consumer.report.overlay import DETECTED, NEAREST, QUERIES, nearest, overlay, places
from consumer.report.page import write_report
from tests.consumer.report.test_page import EVIL, Page, assert_inert
from tests.consumer.runs import Run, make_run
from wire.answers import FLOAT32, Detection, Detections, Embedding, ImageSize, OtherAnswer
from wire.prediction import STAMPS, Prediction

PICTURE = "data:image/png;base64,"


def box(sides: Sequence[float] = (10, 20, 110, 70), label: str = "cat") -> Detection:
    return Detection(label=label, class_id=3, score=0.9, box=sides)


def boxes(*found: Detection, width: int = 200, height: int = 100) -> Detections:
    return Detections(found, ImageSize(width=width, height=height))


def take(answers: Answers, number: int, answer: OtherAnswer, latency_ns: int = 1) -> None:
    stamps = dict.fromkeys(STAMPS, 1000)
    one = Prediction(f"image-{number}", "m", "1", (), stamps, 1, answer=answer)
    answers.take(one, 1000 + latency_ns)


def page(run: Run, answers: Answers) -> Page:
    file = io.BytesIO()
    shown = places(run.rows, answers) | gallery.places(run.rows, run.chosen)
    seen = dict.fromkeys(shown, PICTURE)
    write_report(file, run.rows, run.chosen, run.summary, seen, answers)
    return Page(file.getvalue().decode())


def test_a_box_is_where_it_is_in_the_picture() -> None:
    drawn = overlay(boxes(box()))
    assert drawn is not None
    assert drawn.height == 50
    (one,) = drawn.boxes
    assert (one.x, one.y, one.width, one.height) == (5, 10, 50, 25)


def test_a_box_is_held_to_the_picture_and_what_has_no_place_is_not_drawn() -> None:
    drawn = overlay(boxes(box((-1e300, -5, 1e300, 50)), box((300, 0, 400, 50)), box((9, 9, 9, 9))))
    assert drawn is not None
    (one,) = drawn.boxes
    assert (one.x, one.y, one.width, one.height) == (0, 0, 100, 25)
    assert overlay(Detections((box(),))) is None
    assert overlay(boxes(box(), width=0)) is None
    assert overlay(boxes(box(), width=1 << 40)) is None


def test_what_is_kept_is_bounded_and_has_the_slowest() -> None:
    answers = Answers()
    many = boxes(*[box(label="x" * 1000)] * 50)
    for number in range(FIRST + 100):
        take(answers, number, many, latency_ns=number)
    assert len(answers.boxes) == FIRST + SLOWEST
    assert f"image-{FIRST + 99}" in answers.boxes
    assert len(answers.boxes["image-0"].found) == MAX_BOXES
    assert len(answers.boxes["image-0"].found[0]["label"]) == MAX_LABEL
    for number in range(FIRST + 100):
        take(answers, number, Embedding(bytes(4)))
    assert len(answers.vectors) == FIRST


def test_nearest_are_those_of_the_largest_cosine() -> None:
    rng = np.random.default_rng(2)
    vectors = {f"image-{n}": rng.standard_normal(8).astype(np.float32) for n in range(40)}
    found = nearest({**vectors, "short": np.ones(3, np.float32), "zero": np.zeros(8, np.float32)})
    assert len(found) == QUERIES
    for name, near in found.items():
        cosines = {
            other: float(one @ vectors[name] / np.linalg.norm(one) / np.linalg.norm(vectors[name]))
            for other, one in vectors.items()
            if other != name
        }
        best = sorted(cosines, key=lambda other: -cosines[other])[:NEAREST]
        assert [other for other, _ in near] == best
        assert [cosine for _, cosine in near] == pytest.approx([cosines[one] for one in best])


@pytest.mark.parametrize("vectors", [{}, {"a": np.ones(3, np.float32)}])
def test_one_image_has_no_neighbours(
    vectors: dict[str, "np.ndarray[tuple[int], np.dtype[np.float32]]"],
) -> None:
    assert nearest(vectors) == {}


def test_the_report_draws_boxes_whatever_the_labels_say() -> None:
    run = make_run([1000 + n for n in range(50)])
    answers = Answers()
    for number in range(50):
        take(answers, number, boxes(box(label=EVIL)))
    shown = page(run, answers)
    assert_inert(shown)
    drawn = [given for tag, given in shown.tags if tag == "svg" and given.get("class") == "boxes"]
    assert len(drawn) == DETECTED + 12, "those with objects, and the slowest"
    assert "<script>alert" in shown.text


def test_the_report_shows_the_nearest_neighbours() -> None:
    run = make_run([1000] * 20)
    answers = Answers()
    for number in range(20):
        vector = np.array([np.cos(number), np.sin(number)], FLOAT32)
        take(answers, number, Embedding(vector.tobytes()))
    shown = page(run, answers)
    assert_inert(shown)
    assert "Nearest neighbours" in shown.text
    assert "Nearest neighbours" not in page(run, Answers()).text
