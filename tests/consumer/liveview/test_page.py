"""The page in a real browser."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from consumer.liveview.view import WALL, View
from consumer.reader import Received
from tests.consumer.liveview.conftest import MORE_THAN_NOTHING, serving
from tests.consumer.liveview.records import MS, NOW_NS, answer, image, png, predict, refuse, stored
from wire.answers import (
    FLOAT32,
    Detection,
    Detections,
    Embedding,
    ImageSize,
    OtherAnswer,
)
from wire.image import decode_image
from wire.prediction import STAMPS, Prediction
from wire.record import Outgoing

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
numbers = count()


def passes_by(view: View, label: str = "cat", truth: str | None = None, **sent: Any) -> None:
    """An image and its answer."""
    number = next(numbers)
    out = image(number, label=truth, **sent)
    record = stored(out, offset=number)
    view.take(Received(record, NOW_NS))
    prediction = stored(answer(record, label), "predictions", number)
    view.take(Received(prediction, NOW_NS + 20 * MS))


@contextmanager
def traffic(view: View) -> Iterator[None]:
    """Images and answers, until the block ends."""
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.02):
            passes_by(view)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_images_answers_figures_and_charts_arrive(page: Any, port: int, view: View) -> None:
    page.goto(f"http://127.0.0.1:{port}/")
    page.get_by_text("Nothing has come yet").wait_for()
    with traffic(view):
        page.locator(".card.answered").nth(10).wait_for()
        expect(page.locator("#rate")).to_have_text(MORE_THAN_NOTHING)
        page.locator("#rates .line.s-answered").wait_for()
        page.locator("#latencies .line.s-p99").wait_for(state="attached")  # flat: it has no height
    card = page.locator(".card").first
    assert "cat" in card.inner_text()
    assert "20.0 ms" in card.inner_text()
    assert page.locator("#status").inner_text() == "live"
    assert page.get_by_text("Nothing has come yet").is_hidden()
    # The picture itself is there: 8 x 8 pixels, drawn.
    expect(page.locator(".card img").first).to_have_js_property("naturalWidth", 8)


def test_a_hostile_label_and_id_are_shown_as_text(page: Any, port: int, view: View) -> None:
    page.goto(f"http://127.0.0.1:{port}/")
    passes_by(view, HOSTILE, truth=HOSTILE + "!", id=HOSTILE)
    page.get_by_text("is <img src=x").first.wait_for()
    page.locator("#wall .card").click()
    page.locator("#details dd", has_text="<script>").first.wait_for()
    assert page.locator("#details h3").inner_text() == HOSTILE
    assert page.locator("img[src=x], #wall script, #details script").count() == 0
    assert page.title() == "Live view"


def say(view: View, said: OtherAnswer) -> None:
    """An image, and an answer of another task than classification."""
    number = next(numbers)
    sent = stored(image(number), offset=number)
    view.take(Received(sent, NOW_NS))
    event = decode_image(sent)
    stamps = dict.fromkeys(STAMPS, NOW_NS)
    prediction = Prediction(event.id, "m", "1", (), stamps, 1, answer=said)
    view.take(Received(stored(predict(event, prediction), "predictions", number), NOW_NS))


def test_boxes_are_drawn_over_their_picture(page: Any, port: int, view: View) -> None:
    page.goto(f"http://127.0.0.1:{port}/")
    one = Detection(label=HOSTILE, class_id=1, score=0.9, box=(2, 2, 6, 6))
    say(view, Detections((one,), ImageSize(width=8, height=8)))
    page.locator("#wall .card svg.boxes rect").wait_for(state="attached")
    page.locator("#wall .card").click()
    page.locator("#details svg.boxes text", has_text="<img src=x").wait_for()
    assert page.locator("img[src=x], #details script").count() == 0
    inside = page.evaluate(
        "() => { const f = document.querySelector('#details .frame img').getBoundingClientRect();"
        " const r = document.querySelector('#details .boxes rect').getBoundingClientRect();"
        " return [(r.left - f.left) / f.width, (r.right - f.left) / f.width,"
        " (r.top - f.top) / f.height]; }"
    )
    assert inside == pytest.approx([0.25, 0.75, 0.25], abs=0.03)


def test_the_images_most_like_one_are_shown_beside_it(page: Any, port: int, view: View) -> None:
    page.goto(f"http://127.0.0.1:{port}/")
    for number in range(4):
        say(view, Embedding(np.array([1, number], FLOAT32).tobytes()))
    page.locator("#wall .card").first.click()
    expect(page.locator("#details .alike img")).to_have_count(3)


def test_an_inline_script_would_be_stopped_by_the_policy(browser: Any, port: int) -> None:
    opened = browser.new_page()
    opened.goto(f"http://127.0.0.1:{port}/")
    opened.evaluate(
        "() => { const s = document.createElement('script');"
        " s.textContent = \"document.title = 'owned'\"; document.body.append(s); }"
    )
    assert opened.title() == "Live view"
    opened.close()


def test_details_say_what_became_of_an_image_and_where_its_time_went(
    page: Any, port: int, view: View
) -> None:
    page.goto(f"http://127.0.0.1:{port}/")
    passes_by(view, "dog", truth="cat", id="door-42")
    page.locator("#wall .card.wrong").click()
    details = page.locator("#details")
    for text in ("door-42", "is cat", "triton", "resnet version 1", "/camera", "image/png"):
        details.get_by_text(text).first.wait_for()
    page.keyboard.press("Escape")
    details.wait_for(state="hidden")


def test_dead_letters_and_waiting_images_look_their_part(page: Any, port: int, view: View) -> None:
    page.goto(f"http://127.0.0.1:{port}/")
    view.take(Received(stored(image(0), offset=10**6), NOW_NS))
    broken = stored(Outgoing(b"front-door", b"rubbish", []), offset=10**6 + 1)
    view.take(Received(broken, NOW_NS))
    letter = refuse(broken, "not a readable image")
    view.take(Received(stored(letter, "images.dlq"), NOW_NS))
    page.locator("#wall .card.waiting").wait_for()
    page.locator("#dead .card.dead-lettered", has_text="not an image").wait_for()
    assert page.locator("#dead-count").inner_text() == "1"
    assert page.locator("#waiting").inner_text() == "1"


def test_the_page_holds_no_more_than_its_places_however_much_passes_by(
    page: Any, port: int, view: View
) -> None:
    page.goto(f"http://127.0.0.1:{port}/")
    for _ in range(3):
        for _ in range(4 * WALL):
            passes_by(view, value=png(size=4))
        page.locator(".card").nth(0).wait_for()
    expect(page.locator("#totals")).to_contain_text("288 images")
    assert page.locator("#wall .card").count() <= WALL


def test_a_pause_holds_the_page_still_and_ends(page: Any, port: int, view: View) -> None:
    page.goto(f"http://127.0.0.1:{port}/")
    passes_by(view)
    page.locator("#wall .card").wait_for()
    page.get_by_role("button", name="Pause").click()
    shown = page.locator("#totals").inner_text()
    passes_by(view)
    with page.expect_response("**/no-picture.svg") as seen:  # a round trip to the server
        page.evaluate("fetch('no-picture.svg')")
    assert seen.value.ok
    assert page.locator("#totals").inner_text() == shown
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#wall .card")).to_have_count(2)


def test_what_is_wrong_with_kafka_is_said_and_goes_away(page: Any, port: int, view: View) -> None:
    view.set_trouble("cannot read from Kafka at 127.0.0.1:1: Broker transport failure")
    page.goto(f"http://127.0.0.1:{port}/")
    page.get_by_text("cannot read from Kafka at 127.0.0.1:1").wait_for()
    page.get_by_text("no Kafka").wait_for()
    view.set_trouble(None)
    page.locator("#trouble").wait_for(state="hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(browser: Any, port: int, scheme: str) -> None:
    opened = browser.new_page(color_scheme=scheme)
    opened.goto(f"http://127.0.0.1:{port}/")
    text, ground = opened.evaluate(
        "() => [getComputedStyle(document.body).color,"
        " getComputedStyle(document.body).backgroundColor]"
    )
    assert contrast(channels(text), channels(ground)) > 10
    opened.close()


def channels(css: str) -> list[float]:
    return [int(part) / 255 for part in css.strip("rgb()").split(",")]


def contrast(one: list[float], other: list[float]) -> float:
    """The contrast of two colours as WCAG defines it."""

    def luminance(color: list[float]) -> float:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_a_server_that_went_is_said(browser: Any, view: View) -> None:
    opened = browser.new_page()
    with serving(view) as port:
        opened.goto(f"http://127.0.0.1:{port}/")
        opened.get_by_text("live", exact=True).wait_for()
    opened.get_by_text("the live view has gone").wait_for()
    opened.close()
