"""The pages in a real browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import pytest
from playwright.sync_api import Browser, sync_playwright

from consumer.files import write_atomically
from consumer.report.page import write_comparison, write_report
from tests.consumer.report.test_page import EVIL
from tests.consumer.runs import make_run

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
STARTING_MS = 120_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Chromium's sandbox refuses to run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=arguments, timeout=STARTING_MS
        )
        yield started
        started.close()


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
    context.set_default_timeout(STARTING_MS)
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
    button = page.get_by_role("button")
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
