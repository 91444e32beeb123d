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
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np

from bridge.decoders.process import PROTOCOL, Decoded
from imaging.decode import to_picture
from imaging.rules import ImageError, ImageRules
from imaging.tensor import to_tensor
from wire.deadletter import INTERNAL
from wire.image import ImageEvent


def decode(jobs: Sequence[tuple[str | None, bytes]], rules: ImageRules) -> Decoded:
    """Decode each image (content type, value) by itself; what cannot be is an error."""
    assert rules.shape is not None
    pixels = np.empty((len(jobs), *rules.shape), np.uint8)
    sizes = np.zeros((len(jobs), 2), np.int32)
    errors: dict[int, tuple[str, str]] = {}
    seconds = []
    for place, (content_type, value) in enumerate(jobs):
        started = time.perf_counter()
        event = ImageEvent("", content_type, None, None, 0, 0)
        try:
            pixels[place], size = to_picture(event, value, rules)
            sizes[place] = size or 0
        except ImageError as error:
            errors[place] = (error.kind, str(error))
        except MemoryError:
            raise  # of the process: which image it was is found by asking again
        except Exception as error:
            errors[place] = (INTERNAL, f"{type(error).__name__}: {error}")
        seconds.append(time.perf_counter() - started)
    if rules.tensor.plain:
        return Decoded(pixels, sizes, errors, seconds)
    started = time.perf_counter()
    inputs = to_tensor(pixels, rules.tensor)
    share = (time.perf_counter() - started) / len(jobs)
    return Decoded(inputs, sizes, errors, [one + share for one in seconds])


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
