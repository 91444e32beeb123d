"""Handles SIGTERM and SIGINT on a thread, since a handler on the main thread must take no lock.

Python runs such a handler between any two instructions of the main thread, even while that thread
holds the very lock that the handler would wait for (the lock of an Event, for instance).
"""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Call `stop` for each signal, with the number of signals so far; for the main thread only.

    Args:
        stop: called on a thread of its own.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def listen() -> None:
        count = 0
        while received := theirs.recv(64):
            for number in received:
                if number in SIGNALS:
                    count += 1
                    stop(count)

    previous_fd = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
    # Replaces the default action, which ends the process; Python itself writes the signal's number.
    previous = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    listener = Thread(target=listen, name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous_fd)
        ours.close()
        listener.join()
        theirs.close()
