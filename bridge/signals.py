"""SIGTERM and SIGINT, handled on a thread: a handler of the main thread's may set no lock.

It runs between any two instructions of that thread, also while the thread holds the very lock that
the handler would wait for (an Event's, for instance).
"""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """While this is open, call `stop` for each signal, with how many there have been; main thread.

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
    # Only so that the default, to end at once, is not taken: Python writes the number by itself.
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
