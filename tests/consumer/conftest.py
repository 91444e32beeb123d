"""A real browser for the tests of pages."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 120_000
"""For anything of the browser: the machine may be busy."""


# Of a module: while a browser runs, its event loop is the main thread's, and asyncio.run() fails.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415 - takes a second

    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as driver:
        # Its sandbox refuses to run as root.
        found = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], timeout=WAIT_MS
        )
        yield found
        found.close()
