"""How the live view is laid out, measured in a real browser."""

from typing import Any

import pytest

from consumer.liveview.view import View
from consumer.measuring.measure import Topics
from consumer.reader import Received
from tests.consumer.conftest import WAIT_MS
from tests.consumer.geometry import WIDTHS, faults
from tests.consumer.liveview.conftest import serving
from tests.consumer.liveview.records import MS, NOW_NS, answer, image, stored
from tests.consumer.liveview.scenes import SCENES
from tests.waiting import eventually

pytestmark = pytest.mark.slow

# Asked from here and not by the page itself, which may evaluate no strings (its security policy).
STARTED = "document.getElementById('totals').textContent !== ''"


@pytest.mark.parametrize("name", SCENES)
def test_nothing_is_cut_nor_lies_on_anything_else_however_wide_the_window(
    name: str, browser: Any
) -> None:
    now = [1000.0]
    view = View(
        "127.0.0.1:9092", Topics("images", "predictions", "images.dlq"), clock=lambda: now[0]
    )
    view.set_trouble(None)
    SCENES[name](view)
    # As many turns as fill the rows: a board takes only the latest ones of each.
    for _ in range(8):
        now[0] += 0.5
        view.frame()
    found = {}
    with serving(view) as port:
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(WAIT_MS)
        page.goto(f"http://127.0.0.1:{port}/")
        eventually(lambda: page.evaluate(STARTED), "the page having its first frame")
        if name != "nothing":
            page.locator("#wall .card").first.wait_for()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            # The charts are drawn again once they know their new width.
            page.evaluate(
                "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
            )
            found[f"{width}"] = faults(page)
            if name != "nothing":
                page.locator("#wall .card").first.click()
                page.locator("#details[open] dl").wait_for()
                found[f"{width}, one image"] = faults(page)
                page.keyboard.press("Escape")
        page.emulate_media(color_scheme="dark")
        found["dark"] = faults(page)
        page.close()
    assert {key: said for key, said in found.items() if said} == {}


def test_the_story_of_an_image_is_found_by_its_id(page: Any, port: int, view: View) -> None:
    page.goto(f"http://127.0.0.1:{port}/")
    for number in range(3):
        record = stored(image(number, id=f"door & 42/{number}"), offset=number)
        view.take(Received(record, NOW_NS))
        found = stored(answer(record, "dog"), "predictions", number)
        view.take(Received(found, NOW_NS + 20 * MS))
    eventually(lambda: page.evaluate(STARTED), "the page having its first frame")
    page.locator("#find-id").fill("door & 42/1")
    page.keyboard.press("Enter")
    story = page.locator("#details[open]")
    for text in ("door & 42/1", "images/0/1", "resnet version 1", "2027-01-15", "/camera"):
        story.get_by_text(text).first.wait_for()
    page.keyboard.press("Escape")
    page.locator("#find-id").fill("nobody")
    page.keyboard.press("Enter")
    page.get_by_text("No image with the id nobody").wait_for()
    assert page.locator("#details[open]").count() == 0
