"""What is served, to whom, and what it costs."""

import http.client
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, NamedTuple

import orjson
import pytest

from consumer.liveview import web
from consumer.liveview.view import View
from consumer.reader import Received
from tests.consumer.liveview.conftest import serving
from tests.consumer.liveview.records import NOW_NS, answer, image, stored
from tests.waiting import eventually


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def get(port: int, path: str, **headers: str) -> Answer:
    with asking(port, path, **headers) as response:
        return Answer(response.status, response.headers, response.read())


@contextmanager
def asking(port: int, path: str = "/events", **headers: str) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        with closing(connection.getresponse()) as response:
            yield response


def next_frame(stream: http.client.HTTPResponse) -> dict[str, Any]:
    while not (line := stream.readline()).startswith(b"data: "):
        assert line, "the stream ended"
    found: dict[str, Any] = orjson.loads(line.removeprefix(b"data: "))
    return found


@pytest.mark.parametrize("path", ["/", "/view.js", "/style.css", "/events", "/pictures/0", "/no"])
def test_every_answer_forbids_what_the_page_does_not_need(port: int, path: str) -> None:
    with asking(port, path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_the_page_is_served_under_the_names_of_this_machine(port: int, host: str) -> None:
    assert get(port, "/", Host=f"{host}:{port}").status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil"])
@pytest.mark.parametrize("path", ["/", "/events", "/pictures/0"])
def test_a_name_that_was_made_to_lead_here_is_refused(port: int, host: str, path: str) -> None:
    assert get(port, path, Host=host).status == 400


def test_frames_come_as_events(port: int, view: View) -> None:
    with asking(port) as stream:
        assert stream.headers.get_content_type() == "text/event-stream"
        assert next_frame(stream)["totals"]["images"] == 0
        view.take(Received(stored(image(1)), NOW_NS))
        while next_frame(stream)["totals"]["images"] != 1:
            pass


def test_a_picture_is_encoded_anew_and_what_is_none_is_a_placeholder(port: int, view: View) -> None:
    hostile = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    view.take(Received(stored(image(1)), NOW_NS))
    view.take(Received(stored(image(2, value=hostile, content_type="image/svg+xml")), NOW_NS))
    shown = get(port, "/pictures/0")
    assert shown.headers["Content-Type"] == "image/png"
    assert shown.body.startswith(b"\x89PNG")
    for path in ("/pictures/1", "/pictures/2", f"/pictures/{10**30}"):
        none = get(port, path)
        assert (none.status, none.headers.get_content_type()) == (200, "image/svg+xml")
        assert none.body == (web.PAGE / "no-picture.svg").read_bytes()


@pytest.mark.parametrize("path", ["/../web.py", "/%2e%2e/web.py", "/pictures/x", "/../../run.py"])
def test_nothing_but_the_page_is_served(port: int, path: str) -> None:
    assert get(port, path).status == 404


def test_one_page_too_many_is_told_and_a_page_that_goes_makes_room(port: int) -> None:
    with ExitStack() as streams:
        for _ in range(web.MAX_VIEWERS):
            next_frame(streams.enter_context(asking(port)))
        refused = get(port, "/events")
        assert refused.status == 503
        assert b"open already" in refused.body

    def there_is_room() -> bool:
        with asking(port) as again:
            return again.status == 200

    eventually(there_is_room)


def test_a_page_that_does_not_read_neither_stops_the_others_nor_the_stop(view: View) -> None:
    for number in range(200):
        sent = image(number)
        view.take(Received(stored(sent, offset=number), NOW_NS))
        view.take(Received(stored(answer(stored(sent)), "predictions"), NOW_NS))
    with ExitStack() as streams, serving(view) as port:
        for _ in range(4):
            streams.enter_context(asking(port))
        with asking(port) as reading:
            for _ in range(12):
                assert next_frame(reading)["totals"]["answered"] == 200
        # `serving` has seen the server end, although four streams were never read.
