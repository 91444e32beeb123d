"""Figures and strangers' texts in a form for people. Pure."""

from wire.deadletter import one_line


def duration(ms: float) -> str:
    """Milliseconds with three digits, in the unit that suits: 250 µs, 4.7 ms, 1.25 s, 2,100 s,
    3.5 days."""
    if ms == 0:
        return "0"
    if ms < 0:
        return f"-{duration(-ms)}"
    if ms >= 1e8:
        return f"{ms / 86_400_000:,.3g} days"
    if ms < 1:
        return f"{ms * 1000:.3g} µs"
    if ms < 999.5:
        return f"{ms:.3g} ms"
    return f"{ms / 1000:.3g} s" if ms < 999_500 else f"{ms / 1000:,.0f} s"


def share(score: float) -> str:
    """A score between 0 and 1 in per cent, another as it is: not every model makes shares."""
    return f"{score:.0%}" if 0 <= score <= 1 else f"{score:.3g}"


def clipped(text: str, length: int) -> str:
    """`text` printable, on one line and at most `length` characters long."""
    clean = one_line(text)
    return clean if len(clean) <= length else clean[: length - 1] + "…"
