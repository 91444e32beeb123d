"""The rate at which the demo sends images on this machine."""

import time
from threading import Event

import numpy as np

from bridge.inference import Answer, InferenceError
from bridge.triton.client import TritonServer
from stack.demo.subject import Subject
from stack.errors import DemoError

SHARE = 0.15
"""Share of Triton's own rate at which images are sent. All programs run on the same machine, and
single images cost them several times what images of a batch do. With 0.3, two cores were so busy
that half of the images waited for more than 50 ms; with 0.15, for more than 23 ms."""
MOST_RATE = 500
"""Highest rate in images per second, however fast the machine is: a demo should last some
seconds."""
CALIBRATION_S = 1.5


def sustainable_rate(address: str, subject: Subject) -> float:
    """Images per second to send on this machine: a share of Triton's own rate at full batches."""
    server = TritonServer(address, subject.model)
    spec = server.load_spec()
    assert spec.shape is not None
    batch = [np.zeros(spec.shape, np.uint8)] * spec.max_batch
    answered = 0
    started = time.monotonic()
    while time.monotonic() - started < CALIBRATION_S:
        done = Event()
        failures: list[InferenceError] = []

        def note(
            result: Answer | InferenceError,
            done: Event = done,
            failures: list[InferenceError] = failures,
        ) -> None:
            if isinstance(result, InferenceError):
                failures.append(result)
            done.set()

        server.infer(batch, note)
        done.wait()
        if failures:
            raise DemoError(f"Triton: {failures[0]}")
        answered += len(batch)
    server.close()
    rate = SHARE * answered / (time.monotonic() - started)
    return float(round(min(max(rate, subject.least_rate), MOST_RATE)))
