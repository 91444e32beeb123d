"""The process that decodes: whatever a stranger's image does to a decoder, it does here.

Started by `bridge/decoder.py`, with the number of an inherited socket. It ends when that closes.
"""

import pickle
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from bridge.decoder import PROTOCOL, Decoded, Setup
from bridge.images import ImageError, to_input
from wire.deadletter import INTERNAL
from wire.image import ImageEvent


def decode(jobs: Sequence[tuple[str | None, bytes]], setup: Setup) -> Decoded:
    """Decode each image (content type, value) by itself; what cannot be is an error."""
    assert setup.spec.shape is not None
    pixels = np.empty((len(jobs), *setup.spec.shape), np.uint8)
    errors: dict[int, tuple[str, str]] = {}
    seconds = []
    for place, (content_type, value) in enumerate(jobs):
        started = time.perf_counter()
        event = ImageEvent("", content_type, None, None, 0, 0)
        try:
            pixels[place] = to_input(
                event, value, setup.spec, max_bytes=setup.max_bytes, max_pixels=setup.max_pixels
            )
        except ImageError as error:
            errors[place] = (error.kind, str(error))
        except MemoryError:
            raise  # of the process: which image it was is found by asking again
        except Exception as error:
            errors[place] = (INTERNAL, f"{type(error).__name__}: {error}")
        seconds.append(time.perf_counter() - started)
    return Decoded(pixels, errors, seconds)


def main() -> None:
    # When to stop is the bridge's to say: it drains first, and needs its decoders for that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with Connection(int(sys.argv[1])) as bridge, suppress(EOFError, OSError):
        setup = bridge.recv()
        bridge.send(True)
        while True:
            bridge.send_bytes(pickle.dumps(decode(bridge.recv(), setup), PROTOCOL))


if __name__ == "__main__":
    main()
