"""One decoder process, which an image may crash or hang without harm to the others."""

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
"""The folder that holds this package, installed or in a checkout."""

ENVIRONMENT = {
    # Memory of an image is kept for the next one: the kernel clears new memory page by page.
    "PILLOW_BLOCKS_MAX": "4",
    # numpy's threads are not used, and their stacks would count as address space.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
INHERITED = ("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")
"""Variables that say where Python and its packages are. All others, which may be secrets, are kept
from the decoders."""

SLICE_IMAGES = 64
START_S = 60.0
"""Time that a decoder may take to start, in seconds. On a machine with nothing else to do it takes
a fifth of a second."""
HANG_S = 60.0
"""Time that one image may take by the clock, in seconds: for decoding that hangs without using CPU
time."""
LAST_WORDS_S = 5.0
"""Time that a decoder may take to end with its traceback once it has closed its socket, in
seconds."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
IDLE = -1
PLACE = struct.Struct("<q")
"""Format of the shared memory in which a decoder says which image of its slice it decodes."""
OUT_OF_MEMORY = 70
"""Exit status of a decoder that ran out of memory."""


def cpu_limit_s(rules: ImageRules) -> float:
    """CPU seconds for one image: four times what was measured for the largest that is allowed."""
    return 2.0 + 2e-7 * rules.max_pixels


@dataclass(frozen=True, slots=True)
class Died:
    """A decoder that has ended.

    Attributes:
        how: the reason, for people.
        place: place in the slice of the image that it was decoding; None: it was decoding none.
        too_slow: whether that image used up its CPU time; it would do so again.
    """

    how: str
    place: int | None = None
    too_slow: bool = False


class Decoder:
    """One processand the thread that talks to it.

    Attributes:
        missing: the protections that its kernel does not support.

    Args:
        done: called on that thread with the result of each slice, or when the process could not
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
            # Otherwise a decoder that an image has taken over could shorten the memory, and the
            # bridge would be killed when it reads there.
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
        """Give the decoder a slice of encoded images; it must be idle."""
        self._seen, self._since = IDLE, time.monotonic()
        self._jobs.put(values)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def place(self) -> int | None:
        """Place in the slice of the image that is being decoded; None: none is."""
        (place,) = PLACE.unpack_from(self._at)
        return None if place < 0 else int(place)

    def seconds_at_it(self, now: float) -> float:
        """Seconds since the decoder was first seen at its present image; must be called regularly.

        Only a later image of the slice counts as progress, so even a decoder that an image has
        taken over cannot go on for ever. `now` is in monotonic seconds.
        """
        place = self.place
        if place is not None and self._seen < place < SLICE_IMAGES:
            self._seen, self._since = place, now
        return now - self._since

    def kill_if_stuck(self, now: float) -> None:
        """Kill the process if it hangs, at its start or at an image."""
        seconds = self.seconds_at_it(now)
        if seconds > (HANG_S if self.started else START_S):
            self.kill(f"no progress for {seconds:.0f} s")

    def kill(self, why: str) -> None:
        self._killed_for = why
        self._process.kill()

    def close(self) -> None:
        """End the process now, whatever it is doing."""
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
        except (EOFError, OSError):  # a reply that is too long is an OSError, too
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
