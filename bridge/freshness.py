"""How old an image may be for work on it to begin. Pure."""

import re
from dataclasses import dataclass

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h)?")
GRACE = 0.1
"""Share of the maximum age that is added for an image that was young enough when its decoding
began. Without it, where decoding is the bottleneck, every image would be decoded at the last
moment and then be too old for the model."""
AHEAD = 0.1
"""Share of the maximum age up to which the time that an image will spend in Triton counts as age.
With more, a model that was slow once would have every image expire, and nothing would show that
it is fast again."""


def seconds(value: object) -> object:
    """The number of seconds in a duration such as 2s, 500ms or 1.5 (seconds).

    Raises:
        ValueError: the text is not a duration.
    """
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip().lower())
    if found is None:
        raise ValueError(f"{value[:40]!r} is no duration such as 2s, 500ms or 1.5 (seconds)")
    return float(found[1]) * _UNITS[found[2] or "s"]


@dataclass(frozen=True, slots=True)
class Freshness:
    """Which images are too old, counted from their intended time.

    Attributes:
        max_age_ns: maximum age in nanoseconds; 0: no image is too old.
        drop: whether an expired image is dropped; otherwise it becomes a dead letter.
    """

    max_age_ns: int = 0
    drop: bool = False

    def expired(self, intended_ns: int, now_ns: int) -> bool:
        """Whether an image is too old for work on it to begin. Times are epoch nanoseconds.

        An image whose intended time is unknown (0) is never too old. Neither is one from the
        future, which a clock that runs ahead produces.
        """
        return 0 < self.max_age_ns < now_ns - intended_ns and intended_ns > 0

    def overdue(self, intended_ns: int, now_ns: int, *, decoded: bool) -> bool:
        """Whether an image is too old for the model; `decoded`: a decoder of the bridge decoded
        it."""
        grace_ns = int(GRACE * self.max_age_ns) if decoded else 0
        return self.expired(intended_ns, now_ns - grace_ns)

    def ahead(self, took_ns: int) -> int:
        """Nanoseconds that count as an image's age before it is sent to Triton.

        Args:
            took_ns: what the last request took there.
        """
        return max(0, min(took_ns, int(AHEAD * self.max_age_ns)))

    def text(self, intended_ns: int, now_ns: int) -> str:
        """The reason why an image is too old, for people to read."""
        age_s = (now_ns - intended_ns) / 1e9
        return f"{age_s:,.1f} s old, {self.max_age_ns / 1e9:g} s are allowed (--max-age)"
