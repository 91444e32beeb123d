"""The decoder process: whatever a stranger's image does to a decoding library, it does here.

`bridge/decoders/process.py` starts it with the numbers of an inherited socket and of shared memory.
It ends when the socket closes.
"""

import io
import mmap
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

import numpy as np
from PIL import Image

from bridge.decoders.confine import confine
from bridge.decoders.messages import (
    Decoded,
    pack_decoded,
    pack_ready,
    unpack_jobs,
    unpack_rules,
)
from bridge.decoders.process import IDLE, OUT_OF_MEMORY, PLACE, SLICE_IMAGES, cpu_limit_s
from imaging.decode import decode, to_picture
from imaging.formats import DECODED
from imaging.rules import ImageError, ImageRules, Preprocess
from imaging.tensor import to_tensor
from wire.deadletter import INTERNAL


class Worker:
    """Decodes slices. Shared memory says which image it is at; it ends if one takes too long.

    Args:
        at: the shared memory.
    """

    def __init__(self, rules: ImageRules, at: mmap.mmap) -> None:
        self._rules = rules
        self._at = at
        self._cpu_limit_s = cpu_limit_s(rules)

    def decode(self, values: Sequence[bytes]) -> Decoded:
        """Decode each image by itself; one that cannot be decoded has an error.

        Raises:
            MemoryError: the process has too little memory; it must end.
        """
        assert self._rules.shape is not None
        pixels = np.empty((len(values), *self._rules.shape), np.uint8)
        sizes = np.zeros((len(values), 2), np.int32)
        errors: dict[int, tuple[str, str]] = {}
        seconds = []
        for place, value in enumerate(values):
            started = time.perf_counter()
            PLACE.pack_into(self._at, 0, place)
            # The signal's default action ends the process, even while native code runs.
            signal.setitimer(signal.ITIMER_PROF, self._cpu_limit_s)
            try:
                pixels[place], sizes[place] = to_picture(value, self._rules)
            except ImageError as error:
                errors[place] = (error.kind, str(error))
            except MemoryError:
                raise  # it ends the process; the bridge knows at which image
            except Exception as error:
                errors[place] = (INTERNAL, f"{type(error).__name__}: {error}")
            seconds.append(time.perf_counter() - started)
        signal.setitimer(signal.ITIMER_PROF, 0)
        PLACE.pack_into(self._at, 0, IDLE)
        if self._rules.tensor.plain:
            return Decoded(pixels, sizes, errors, seconds)
        started = time.perf_counter()
        inputs = to_tensor(pixels, self._rules.tensor)
        share = (time.perf_counter() - started) / len(values)
        return Decoded(inputs, sizes, errors, [one + share for one in seconds])


def prepare() -> None:
    """Make libraries import now what they import while decoding: later no file can be opened."""
    rules = ImageRules((8, 8, 3), Preprocess(4), 1 << 16, 1 << 16)
    for kind in DECODED:
        for mode in ("RGB", "L"):
            file = io.BytesIO()
            Image.new(mode, (16, 16)).save(file, kind)
            decode(file.getvalue(), rules)
            with suppress(ImageError):
                decode(file.getvalue()[:-8], rules)


def main() -> None:
    # The bridge decides when to stop: it drains first, and needs its decoders for that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    at = mmap.mmap(int(sys.argv[2]), PLACE.size)
    with Connection(int(sys.argv[1])) as bridge, suppress(EOFError, OSError):
        rules = unpack_rules(bridge.recv_bytes())
        prepare()
        missing = confine(rules, SLICE_IMAGES)
        worker = Worker(rules, at)
        bridge.send_bytes(pack_ready(missing))
        try:
            while True:
                bridge.send_bytes(pack_decoded(worker.decode(unpack_jobs(bridge.recv_bytes()))))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


if __name__ == "__main__":
    main()
