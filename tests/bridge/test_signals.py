"""A signal stops the bridge whatever the main thread is doing."""

import os
import signal
from threading import Event, Lock

from bridge.signals import on_signals


def test_a_stop_may_take_a_lock_that_the_main_thread_holds() -> None:
    lock = Lock()
    counts: list[int] = []
    stopped = Event()

    def stop(count: int) -> None:
        with lock:
            counts.append(count)
        stopped.set()

    before = signal.getsignal(signal.SIGTERM)
    with on_signals(stop):
        for number in (signal.SIGTERM, signal.SIGINT):
            with lock:
                os.kill(os.getpid(), number)
            assert stopped.wait(30)
            stopped.clear()
    assert counts == [1, 2]
    assert signal.getsignal(signal.SIGTERM) is before
