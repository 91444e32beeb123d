"""The pages in a real browser."""

from pathlib import Path
from typing import BinaryIO, Literal

import pytest
from playwright.sync_api import Browser

from consumer.files import write_atomically
from consumer.report.page import write_comparison, write_report
from tests.consumer.conftest import WAIT_MS
from tests.consumer.geometry import WIDTHS, faults
from tests.consumer.report.test_page import EVIL
from tests.consumer.runs import make_run
from tests.consumer.scenes import RUNS, write_pages

pytestmark = pytest.mark.slow


@pytest.fixture(params=["report", "comparison"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A page with all in it that there may be."""
    latencies = [1000 + 37 * (number % 200) for number in range(1000)]
    run = make_run(
        latencies, answers=[("cat", "cat"), ("dog", EVIL)], id=EVIL, model=EVIL, run_id=EVIL,
        refused=EVIL, settings={"brokers": EVIL},
    )  # fmt: skip
    other = make_run([2 * latency for latency in latencies])

    def write(file: BinaryIO) -> None:
        if request.param == "report":
            write_report(file, run.rows, run.chosen, run.summary, {})
        else:
            write_comparison(file, (EVIL, "b"), run.summary, other.summary)

    write_atomically(tmp_path / "page.html", write)
    return tmp_path / "page.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_opens_without_an_error_asks_for_nothing_and_has_two_themes(
    scheme: Literal["light", "dark"], browser: Browser, path: Path
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 800})
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    background = "getComputedStyle(document.body).backgroundColor"
    shades = {"auto": page.evaluate(background)}
    button = page.locator("#theme")
    for theme in ("light", "dark"):
        button.click()
        assert button.inner_text() == f"theme: {theme}"
        shades[theme] = page.evaluate(background)
    assert shades["auto"] == shades[scheme]
    assert shades["light"] != shades["dark"]
    assert page.locator("main svg[role=img] path").count() > 10
    # On a phone, too: only the wide tables scroll, each by itself.
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    context.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {path.stem: path for path in write_pages(tmp_path_factory.mktemp("pages"))}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_nothing_is_cut_nor_lies_on_anything_else_however_wide_the_window(
    kind: str, name: str, browser: Browser, pages: dict[str, Path]
) -> None:
    page = browser.new_page(color_scheme="light")
    page.set_default_timeout(WAIT_MS)
    page.goto(pages[f"{kind} {name}"].as_uri())
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found[f"{width}"] = faults(page)
        changes = page.locator("td.change")
        if kind == "comparison":
            # What changed is what a comparison is for: nobody has to scroll for it.
            ends = changes.evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
            assert 0 < max(ends) <= width
        # Each image tells its story.
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        found[f"{width}, opened"] = faults(page)
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = false)")
    page.emulate_media(color_scheme="dark")
    found["dark"] = faults(page)
    page.close()
    assert {key: said for key, said in found.items() if said} == {}


def test_an_image_of_the_report_tells_its_story(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(pages["report usual"].as_uri())
    page.locator("summary", has_text="image-895").first.click()
    story = page.locator("details[open]").inner_text()
    for text in ("image-895", "UTC", "triton", "91.2 ms", "dog, score 0.500", "true label\tdog"):
        assert text in story
    assert "topic images, partition 0, offset 895" in story
    page.close()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("image-895", ("image-895", "91.2 ms", "dog, score 0.5", "true label\tdog", "offset 895")),
        ("-895", ("image-895", "partition 0, offset 895")),
        ("nobody", ("none of 1000 images has this id",)),
        ("5", ("of 1000 images end so",)),
    ],
)
def test_any_image_is_found_by_its_id(
    asked: str, said: tuple[str, ...], browser: Browser, pages: dict[str, Path]
) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.set_default_timeout(WAIT_MS)
    page.goto(pages["report usual"].as_uri())
    page.get_by_role("searchbox").fill(asked)
    page.keyboard.press("Enter")
    story = page.locator("#find").inner_text()
    for text in said:
        assert text in story
    assert faults(page) == []
    page.close()
