"""One process that decodes, which an image may crash or hang without harm to the others."""

import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imaging.rules import ImageRules
from imaging.tensor import Array

PROGRAM = Path(__file__).with_name("child.py")

ENVIRONMENT = {"PILLOW_BLOCKS_MAX": "4"}
"""Memory of an image, kept for the next one: new memory is cleared first, page by page."""
PROTOCOL = pickle.HIGHEST_PROTOCOL
"""Both ends are this Python."""
TIMEOUT_S = 60.0
"""For a slice: the largest images allowed by default take a second each at most."""


class Job(NamedTuple):
    """An encoded image.

    Attributes:
        content_type: what it says it is; None: look at the bytes. Raw data are uint8 pixels in
            the shape of the model's input.
    """

    content_type: str | None
    value: bytes


@dataclass(frozen=True, slots=True)
class Decoded:
    """A slice's images.

    Attributes:
        inputs: [images, *dims] of the model's dtype; undefined where there is an error.
        sizes: int32 [images, 2], width and height of each image; 0: they came as they are.
        errors: by place in the slice: the kind, as `ImageError` names it, and the message.
        seconds: spent on each.
    """

    inputs: Array
    sizes: npt.NDArray[np.int32]
    errors: dict[int, tuple[str, str]]
    seconds: Sequence[float]


@dataclass(frozen=True, slots=True)
class Died:
    """A decoder ended; `how` says by what."""

    how: str


class Decoder:
    """One process, and the thread that talks to it.

    Args:
        done: called on that thread with what became of each slice, and when the process could not
            start.
    """

    def __init__(
        self, rules: ImageRules, done: Callable[["Decoder", Decoded | Died], None]
    ) -> None:
        self.started = False
        self.deadline = math.inf
        """Monotonic seconds by which the slice that it works on must be done."""
        self._done = done
        self._jobs: SimpleQueue[Sequence[Job] | None] = SimpleQueue()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**ENVIRONMENT, **os.environ},
            )
        self._link = Connection(ours.detach())
        self._thread = Thread(target=self._talk, args=(rules,), name="decoder", daemon=True)
        self._thread.start()

    def decode(self, jobs: Sequence[Job]) -> None:
        """Give it a slice; it must be idle."""
        self._jobs.put(jobs)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """End it now, whatever it does."""
        self._jobs.put(None)
        self._process.kill()
        self._thread.join()
        self._process.wait()
        self._link.close()

    def _talk(self, rules: ImageRules) -> None:
        try:
            self._link.send(rules)
            self.started = self._link.recv()
            while (jobs := self._jobs.get()) is not None:
                self.deadline = time.monotonic() + TIMEOUT_S
                # Plain tuples and no name of a class for each image: a tenth of the cost.
                self._link.send_bytes(pickle.dumps([tuple(job) for job in jobs], PROTOCOL))
                decoded = self._link.recv()
                self.deadline = math.inf
                self._done(self, decoded)
        except (EOFError, OSError):
            self._done(self, Died(_how(self._process.wait())))


def _how(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name
