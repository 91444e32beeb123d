"""Waiting for what comes to be, and never for a time."""

import time
from collections.abc import Callable
from typing import Any

POLL_S = 0.05


def eventually(condition: Callable[[], Any], what: str = "hold", timeout_s: float = 120) -> None:
    """Return when `condition` holds; AssertionError when it does not in that time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it never came to {what} in {timeout_s:.0f} s"
        time.sleep(POLL_S)
