"""The same complaint again and again is a line at its start, and then one a minute. Pure."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

REPEAT_S = 60.0
"""Between two lines of a complaint that goes on."""
QUIET_S = 30.0
"""After so long without it, a complaint is a new one: what is retried is retried sooner, and what
Kafka's client says of its brokers comes every 20 s."""
MOST = 1000
"""Complaints that are remembered."""


@dataclass(slots=True)
class _Complaint:
    said_at: float
    heard_at: float
    unsaid: int = 0


class Repeats:
    """Decides which complaints are said.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Hashable, _Complaint] = {}

    def unsaid(self, key: Hashable) -> int | None:
        """How often it was heard since it was said, if it is to be said now; else None."""
        now = self._clock()
        known = self._known.get(key)
        if known is None or now - known.heard_at >= QUIET_S:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = _Complaint(now, now)
            return 0
        known.heard_at = now
        if now - known.said_at < REPEAT_S:
            known.unsaid += 1
            return None
        found, known.unsaid, known.said_at = known.unsaid, 0, now
        return found
