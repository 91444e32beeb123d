"""How old an image may be when it is worked on. Pure."""

import re
from dataclasses import dataclass

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h)?")
GRACE = 0.1
"""Share of the age that is added for an image that was young enough when its decoding began.
Without it, where decoding is the bottleneck, every image would be decoded at the last moment, and
be too old after it."""


def seconds(value: object) -> object:
    """A duration such as 2s, 500ms or 1.5 (seconds) as a number of seconds.

    Raises:
        ValueError: text that is none.
    """
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip().lower())
    if found is None:
        raise ValueError(f"{value[:40]!r} is no duration such as 2s, 500ms or 1.5 (seconds)")
    return float(found[1]) * _UNITS[found[2] or "s"]


@dataclass(frozen=True, slots=True)
class Freshness:
    """What is too old, counted from the intended time.

    Attributes:
        max_age_ns: 0: nothing is.
        drop: what is too old is dropped; else it becomes a dead letter.
    """

    max_age_ns: int = 0
    drop: bool = False

    def expired(self, intended_ns: int, now_ns: int) -> bool:
        """Whether work on an image is not to begin.

        An image whose time is not known (0) is never too old, nor is one from the future, as a
        clock that runs ahead makes it.
        """
        return 0 < self.max_age_ns < now_ns - intended_ns and intended_ns > 0

    def overdue(self, intended_ns: int, now_ns: int, *, decoded: bool) -> bool:
        """Whether an image is not to be sent to the model; `decoded`: here, by a decoder."""
        grace_ns = int(GRACE * self.max_age_ns) if decoded else 0
        return self.expired(intended_ns, now_ns - grace_ns)

    def text(self, intended_ns: int, now_ns: int) -> str:
        """For a person, why it is too old."""
        age_s = (now_ns - intended_ns) / 1e9
        return f"{age_s:,.1f} s old, {self.max_age_ns / 1e9:g} s are allowed (--max-age)"
