"""Signals that ask a program to end."""

import signal
from types import FrameType


class StopSignal:
    """SIGINT or SIGTERM asks for a clean end; a second signal cuts the wait for that short."""

    def __init__(self) -> None:
        self.received = 0

    def install(self) -> None:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.received += 1

    def once(self) -> bool:
        return self.received > 0

    def twice(self) -> bool:
        return self.received > 1
