"""Measures how busy a GPU is and its power, several times a second, with nvidia-smi."""

import subprocess
import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import NamedTuple, Self

EVERY_MS = 200
QUERY = (
    "nvidia-smi", "--id=0", "--query-gpu=utilization.gpu,power.draw,memory.used",
    "--format=csv,noheader,nounits", f"--loop-ms={EVERY_MS}",
)  # fmt: skip


class Sample(NamedTuple):
    """A sample of the GPU that Triton uses, which is the machine's first.

    Attributes:
        at: time of `time.monotonic` in seconds.
        utilisation: per cent of the time in which the GPU did anything.
    """

    at: float
    utilisation: float
    watts: float
    memory_mib: float


class Gpu:
    """Samples until the context ends. Without nvidia-smi, there are no samples."""

    def __init__(
        self, query: Sequence[str] = QUERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._query = query
        self._clock = clock
        self._samples: list[Sample] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: Thread | None = None

    def __enter__(self) -> Self:
        try:
            self._process = subprocess.Popen(
                self._query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            return self
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._reader is not None:
            self._reader.join()
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()

    def between(self, begin: float, end: float) -> dict[str, float] | None:
        """Means over this time; None where there is no sample in it."""
        samples = [one for one in list(self._samples) if begin <= one.at <= end]
        if not samples:
            return None
        return {
            name: round(sum(getattr(one, name) for one in samples) / len(samples), 1)
            for name in ("utilisation", "watts", "memory_mib")
        }

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                utilisation, watts, memory_mib = map(float, line.split(","))
            except ValueError:  # "[N/A]": the card does not report it
                continue
            self._samples.append(Sample(self._clock(), utilisation, watts, memory_mib))
