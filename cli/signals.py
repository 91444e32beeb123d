"""Signals that ask a program to end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cli.interrupts import quiet_interrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Let an interrupt end the process at once while a client's call waits, which Python would only
    notice when the call returns. A handler of the program's own is left as it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    quiet_interrupt()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class StopSignal:
    """SIGINT, SIGTERM or SIGHUP (a terminal was closed) asks for a clean end; a second signal cuts
    the wait for that short."""

    def __init__(self) -> None:
        self.received = 0

    def install(self) -> None:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._handle)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(signal.SIGHUP, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.received += 1

    def once(self) -> bool:
        return self.received > 0

    def twice(self) -> bool:
        return self.received > 1
