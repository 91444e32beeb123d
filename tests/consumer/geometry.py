"""What is wrong with how a page is laid out, as the browser measured it."""

from pathlib import Path
from typing import Any

WIDTHS = (360, 768, 1280)
"""Of a phone, of a tablet and of a laptop, in CSS pixels."""

_FAULTS = Path(__file__).with_suffix(".js").read_text()


def faults(page: Any) -> list[str]:
    """A sentence for each: the page or a text is wider than its place, a text is cut, lies on
    another, is too small to read or stands out too little from what is behind it, or a number and
    its unit are on two lines."""
    found: list[str] = page.evaluate(_FAULTS)
    return found
