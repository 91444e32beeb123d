"""Figures and strangers' text as a person reads them. Pure."""

from wire.deadletter import one_line


def duration(ms: float) -> str:
    """Milliseconds with three digits, in the unit that suits: 250 µs, 4.7 ms, 1.25 s."""
    if ms == 0:
        return "0"
    if ms < 1:
        return f"{ms * 1000:.3g} µs"
    return f"{ms:.3g} ms" if ms < 999.5 else f"{ms / 1000:,.3g} s"


def clipped(text: str, length: int) -> str:
    """`text` printable, on one line and at most `length` characters long."""
    clean = one_line(text)
    return clean if len(clean) <= length else clean[: length - 1] + "…"
