"""The page, served."""

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import create_server
from typing import Any

import pytest

from consumer.liveview.objects import Objects
from consumer.liveview.view import View
from consumer.liveview.web import make_server
from consumer.measuring.measure import Topics
from tests.consumer.conftest import WAIT_MS

MORE_THAN_NOTHING = re.compile(r"[1-9]")
"""A figure of the page that is not zero."""
HOSTS = ("127.0.0.1", "localhost", "[::1]")


@pytest.fixture
def view() -> View:
    found = View("127.0.0.1:9092", Topics("images", "predictions", "images.dlq"))
    found.set_trouble(None)
    return found


@contextmanager
def serving(view: View, objects: Objects | None = None) -> Iterator[int]:
    """The port at which the view's page is served."""
    listener = create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = make_server(view, HOSTS, objects)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield port
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def port(view: View) -> Iterator[int]:
    # What a client that was cut off leaves behind is said by asyncio; here it is meant.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    with serving(view) as found:
        yield found


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of the browser; whatever its console complains of fails the test."""
    opened = browser.new_page()
    opened.set_default_timeout(WAIT_MS)
    complaints: list[str] = []

    def note(said: Any) -> None:
        if said.type in ("error", "warning"):
            complaints.append(said.text)

    opened.on("console", note)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    opened.close()
    assert not complaints
