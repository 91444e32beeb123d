"""The images that a report can be asked for."""

import json

import pytest

from consumer.report import stories as module
from consumer.report.stories import stories
from tests.consumer.report.test_page import EVIL
from tests.consumer.runs import make_run

LARGEST = 3.4028234663852886e38
"""The largest number of a column of scores."""


def test_each_image_says_what_became_of_it_and_where_it_lies() -> None:
    run = make_run([2000] * 4, answers=[("cat", "cat"), ("dog", "cat")], refused="decode/color")
    found = json.loads(stories(run.rows))
    assert found["all"] == len(run.rows.ids) == len(found["images"])
    by_id = {image[0]: image for image in found["images"]}
    assert by_id.keys() == set(run.rows.ids)
    outcomes = {image[1] for image in found["images"]}
    assert {"answered", "dead-lettered"} <= outcomes
    names = found["names"]
    refused = next(image for image in found["images"] if image[1] == "dead-lettered")
    assert names[refused[2]] == "decode/color"
    wrong = next(one for one in found["images"] if one[1] == "answered" and one[2] != one[4])
    assert {names[wrong[2]], names[wrong[4]]} == {"cat", "dog"}
    assert len(wrong[6]) == len(found["stages"]) == 6
    assert wrong[8] is not None


def test_of_many_the_odd_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    run = make_run([2000] * 50, answers=[("cat", "cat")], refused="decode/color")
    found = json.loads(stories(run.rows))
    assert (found["all"], len(found["images"])) == (len(run.rows.ids), 3)
    assert found["images"][0][1] == "dead-lettered"


def test_a_strangers_text_does_not_leave_its_place() -> None:
    text = stories(make_run([2000] * 2, id=EVIL, refused=EVIL, model=EVIL).rows)
    assert "<" not in text
    assert EVIL in json.loads(text)["names"][0]


def test_a_score_beyond_any_column_is_still_json() -> None:
    run = make_run([2000] * 2, scores=(1e308, -1e308))
    found = json.loads(stories(run.rows), parse_constant=pytest.fail)
    assert [image[3] for image in found["images"]] == [
        3.4028234663852886e38,
        -3.4028234663852886e38,
    ]
