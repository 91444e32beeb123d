"""The process that decodes: whatever a stranger's image does to a decoder, it does here.

Started by `bridge/decoders/process.py` with the number of an inherited socket, and ends when that
closes.
"""

import pickle
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

import numpy as np

from bridge.decoders.process import PROTOCOL, Decoded
from imaging.decode import to_input
from imaging.rules import ImageError, ImageRules
from wire.image import ImageEvent


def decode(jobs: Sequence[tuple[str | None, bytes]], rules: ImageRules) -> Decoded:
    """Decode each image (content type, value) by itself; what cannot be is an error."""
    assert rules.shape is not None
    pixels = np.empty((len(jobs), *rules.shape), np.uint8)
    errors: dict[int, tuple[str, str]] = {}
    seconds = []
    for place, (content_type, value) in enumerate(jobs):
        started = time.perf_counter()
        event = ImageEvent("", content_type, None, None, 0, 0)
        try:
            pixels[place] = to_input(event, value, rules)
        except ImageError as error:
            errors[place] = (error.kind, str(error))
        seconds.append(time.perf_counter() - started)
    return Decoded(pixels, errors, seconds)


def main() -> None:
    # When to stop is the bridge's to say: it drains first, and needs its decoders for that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with Connection(int(sys.argv[1])) as bridge, suppress(EOFError, OSError):
        rules = bridge.recv()
        bridge.send(True)
        while True:
            bridge.send_bytes(pickle.dumps(decode(bridge.recv(), rules), PROTOCOL))


if __name__ == "__main__":
    main()
