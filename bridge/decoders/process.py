"""One process that decodes, which an image may crash or hang without harm to the others."""

import fcntl
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from bridge.decoders.messages import (
    MAX_READY_BYTES,
    Decoded,
    ReplyError,
    max_reply_bytes,
    pack_jobs,
    pack_rules,
    unpack_decoded,
    unpack_ready,
)
from imaging.rules import ImageRules

PROGRAM = "bridge.decoders.child"
ROOT = str(Path(__file__).resolve().parents[2])
"""Where this package is, installed or in a checkout."""

ENVIRONMENT = {
    # Memory of an image, kept for the next one: new memory is cleared first, page by page.
    "PILLOW_BLOCKS_MAX": "4",
    # No threads of numpy's: they are not used, and their stacks count as address space.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
INHERITED = ("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")
"""Where Python and its packages are. All else, secrets among it, stays with the bridge."""

SLICE_IMAGES = 64
START_S = 60.0
"""Time that a decoder may take to start, in seconds. It takes a fifth of a second where the machine
has nothing else to do."""
HANG_S = 60.0
"""Time that one image may take by the clock, in seconds, for what hangs without using CPU time."""
LAST_WORDS_S = 5.0
"""Time for a decoder that has closed its socket to end, with its traceback, in seconds."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
IDLE = -1
PLACE = struct.Struct("<q")
"""Where a decoder says which image of its slice it is at."""
OUT_OF_MEMORY = 70
"""Exit status of a decoder that ran out of memory."""


def cpu_limit_s(rules: ImageRules) -> float:
    """CPU time for one image: four times what the largest that is allowed was seen to need."""
    return 2.0 + 2e-7 * rules.max_pixels


@dataclass(frozen=True, slots=True)
class Died:
    """A decoder ended.

    Attributes:
        how: by what.
        place: of the image that it was at; None: none.
        too_slow: that image used up its CPU time; another try would, too.
    """

    how: str
    place: int | None = None
    too_slow: bool = False


class Decoder:
    """One process, and the thread that talks to it.

    Attributes:
        missing: what its kernel has no means to take from it.

    Args:
        done: called on that thread with what became of each slice, and when the process could not
            start.
    """

    def __init__(
        self, rules: ImageRules, done: Callable[["Decoder", Decoded | Died], None]
    ) -> None:
        self.started = False
        self.missing: list[str] = []
        self._rules = rules
        self._done = done
        self._jobs: SimpleQueue[Sequence[bytes] | None] = SimpleQueue()
        self._killed_for = ""
        self._seen = IDLE
        self._since = time.monotonic()
        shared = os.memfd_create("decoder", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(shared, PLACE.size)
            # Else one that an image has taken over could cut it short, and the bridge would die of
            # looking there.
            fcntl.fcntl(shared, fcntl.F_ADD_SEALS, _SEALS)
            self._at = mmap.mmap(shared, PLACE.size)
            PLACE.pack_into(self._at, 0, IDLE)
            ours, theirs = socket.socketpair()
            with theirs:
                numbers = (theirs.fileno(), shared)
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", PROGRAM, *map(str, numbers)],
                    pass_fds=numbers,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={
                        **{name: os.environ[name] for name in INHERITED if name in os.environ},
                        **ENVIRONMENT,
                        "PYTHONPATH": _path(),
                    },
                )
        finally:
            os.close(shared)
        self._link = Connection(ours.detach())
        self._thread = Thread(target=self._talk, name="decoder", daemon=True)
        self._thread.start()

    def decode(self, values: Sequence[bytes]) -> None:
        """Give it a slice; it must be idle."""
        self._seen, self._since = IDLE, time.monotonic()
        self._jobs.put(values)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def place(self) -> int | None:
        """Place of the image that the decoder is at, in its slice; None: it is at none."""
        (place,) = PLACE.unpack_from(self._at)
        return None if place < 0 else int(place)

    def seconds_at_it(self, now: float) -> float:
        """Since it was first seen at what it is at now, monotonic; to be asked now and again.

        Only a later image of its slice is progress: whatever an image has it say ends in time.
        """
        place = self.place
        if place is not None and self._seen < place < SLICE_IMAGES:
            self._seen, self._since = place, now
        return now - self._since

    def kill_if_stuck(self, now: float) -> None:
        """End it where it hangs, at its start or at an image."""
        seconds = self.seconds_at_it(now)
        if seconds > (HANG_S if self.started else START_S):
            self.kill(f"no progress for {seconds:.0f} s")

    def kill(self, why: str) -> None:
        self._killed_for = why
        self._process.kill()

    def close(self) -> None:
        """End it now, whatever it does."""
        self._jobs.put(None)
        self._process.kill()
        self._thread.join()
        self._process.wait()
        self._link.close()

    def _talk(self) -> None:
        try:
            self._link.send_bytes(pack_rules(self._rules))
            self.missing = unpack_ready(self._link.recv_bytes(MAX_READY_BYTES))
            self.started = True
            while (values := self._jobs.get()) is not None:
                self._link.send_bytes(pack_jobs(values))
                reply = self._link.recv_bytes(max_reply_bytes(len(values), self._rules))
                self._done(self, unpack_decoded(reply, len(values), self._rules))
        except ReplyError as error:
            self._process.kill()
            self._end(str(error))
        except (EOFError, OSError):  # a reply that is longer than it may be is an OSError, too
            self._end(self._killed_for)

    def _end(self, how: str) -> None:
        try:
            status = self._process.wait(LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        too_slow = status == -signal.SIGPROF
        self._done(self, Died(how or self._how(status), self.place, too_slow))

    def _how(self, status: int) -> str:
        if status == -signal.SIGPROF:
            return f"more than {cpu_limit_s(self._rules):.0f} s of CPU time"
        if status == OUT_OF_MEMORY:
            return "more memory than a decoder is given"
        return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


def _path() -> str:
    return os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
