"""What the pages hold, for runs of every kind and from whatever messages."""

import base64
import dataclasses
import hashlib
import io
from html.parser import HTMLParser

import pytest

from consumer.report.page import write_comparison, write_report
from consumer.summary import Stage
from tests.consumer.runs import RUNS_US, Run, make_run

EVIL = "<script>alert(1)</script>\"'><img src=http://x/ onerror=alert(1)>{{ 7*191 }}"
VOID = {"input", "meta", "link", "img", "path", "br"}


class Page(HTMLParser):
    """A page taken apart, its tags checked to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.script = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open[-1:] == ["script"] and "type" not in self.tags[-1][1]:
            self.script += data

    def count(self, wanted: str) -> int:
        return sum(tag == wanted for tag, _ in self.tags)


def report(run: Run, pictures: dict[tuple[int, int], str] | None = None) -> Page:
    file = io.BytesIO()
    write_report(file, run.rows, run.chosen, run.summary, pictures or {})
    return Page(file.getvalue().decode())


def comparison(a: Run, b: Run, names: tuple[str, str] = ("a", "b")) -> Page:
    file = io.BytesIO()
    write_comparison(file, names, a.summary, b.summary)
    return Page(file.getvalue().decode())


def assert_inert(page: Page) -> None:
    """Nothing in it runs but its own script, and nothing is asked for from anywhere."""
    kinds = [attributes.get("type") for tag, attributes in page.tags if tag == "script"]
    assert kinds.count(None) == 1
    assert set(kinds) <= {None, "application/json"}  # that is data, which no browser runs
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    policy = next(a["content"] for _, a in page.tags if "Content-Security-Policy" in a.values())
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert policy.endswith(f"script-src 'sha256-{digest}'")
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")


@pytest.mark.parametrize("name", RUNS_US)
def test_any_run_makes_a_report_that_says_whether_it_is_valid(name: str) -> None:
    run = make_run(RUNS_US[name])
    page = report(run)
    assert_inert(page)
    assert ("✓ valid run" in page.text) == run.summary.valid
    for reason in run.summary.reasons:
        assert reason in page.text


@pytest.mark.parametrize("name", RUNS_US)
def test_any_run_can_be_set_beside_another(name: str) -> None:
    run, other = make_run(RUNS_US[name]), make_run([2000] * 50)
    for page in (comparison(run, other), comparison(other, run)):
        assert_inert(page)
        assert page.text.count("✓ valid run") == run.summary.valid + other.summary.valid


def test_a_late_run_says_in_its_report_where_its_latency_ends() -> None:
    run = make_run([1000] * 5)
    stored = dataclasses.replace(run.summary, stored=5)
    assert stored.notes[0] in report(dataclasses.replace(run, summary=stored)).text


def test_what_a_stranger_sent_is_text_and_never_markup() -> None:
    run = make_run(
        [1000] * 20, answers=[(EVIL, EVIL + "2")], id=EVIL, model=EVIL, run_id=EVIL,
        refused=EVIL, settings={EVIL: EVIL},
    )  # fmt: skip
    summary = dataclasses.replace(
        run.summary,
        stages=[Stage(EVIL, 1, 1, 1, 0)],
        reasons=[EVIL],
        valid=False,
        ended_by=EVIL,
        versions={EVIL: EVIL},
    )
    run = dataclasses.replace(run, summary=summary)
    for page in (report(run), comparison(run, make_run([1]), (EVIL, EVIL))):
        assert_inert(page)
        assert page.count("img") == 0
        assert "<script>alert(1)</script>" in page.text
        assert "1337" not in page.text


def test_a_text_with_half_a_character_in_it_does_not_stop_the_report() -> None:
    page = report(make_run([1000] * 3, id="\ud800", run_id="\ud800"))
    assert "✓ valid run" in page.text


def test_pictures_are_shown_where_there_are_any_and_words_where_not() -> None:
    run = make_run([3000, 2000, 1000])
    page = report(run, {(0, 1): "data:image/png;base64,AA=="})
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"] == ["image-1"]
    assert page.text.count("no picture") == 2


def test_the_confusion_matrix_has_a_cell_for_each_class_taken_for_each() -> None:
    page = report(make_run([1000] * 30, answers=[("cat", "cat"), ("cat", "dog"), ("dog", "dog")]))
    cells = [
        a["class"] for tag, a in page.tags if tag == "td" and "--share" in (a.get("style") or "")
    ]
    assert cells == ["right", "wrong", "right"]
    assert "50.0% of 20" in page.text
    assert "100.0% of 10" in page.text


def test_of_many_classes_the_commonest_confusions_are_listed() -> None:
    answers = [(f"class {number}", f"class {number}") for number in range(30)]
    page = report(make_run([1000] * 310, answers=[*answers, ("cat", "dog")]))
    assert "Commonest confusions" in page.text
    assert "Confusion matrix" not in page.text
