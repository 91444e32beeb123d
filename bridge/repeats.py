"""A repeated complaint is logged at its start and then once a minute. Pure."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

REPEAT_S = 60.0
"""Seconds between two lines of a complaint that goes on."""
QUIET_S = 30.0
"""Seconds of silence after which a complaint is a new one. Retries come sooner than that, and
Kafka's client reports its brokers every 20 s."""
MOST = 1000
"""Largest number of complaints that are remembered."""


@dataclass(slots=True)
class _Complaint:
    said_at: float
    heard_at: float
    unsaid: int = 0


class Repeats:
    """Decides which complaints are logged.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Hashable, _Complaint] = {}

    def unsaid(self, key: Hashable) -> int | None:
        """How often the complaint was left out since it was logged, if it is to be logged now;
        otherwise None."""
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
