"""Raw pixels become the numbers of a model beside the loop, which goes on meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from imaging.rules import ImageRules
from imaging.tensor import Array, to_tensor

SLICE_BYTES = 256 << 10
"""Of pixels that are converted together: less than a millisecond, so that the first image of them
need not wait for the last."""
JOIN_S = 10.0


class RawPixels(Protocol):
    """Something that has the uint8 pixels [height, width, channels] of an image."""

    @property
    def value(self) -> bytes: ...


T = TypeVar("T", bound=RawPixels)


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of some images: inputs [images, *dims], or why there are none."""

    items: Sequence[Any]
    result: Array | Exception


class Converter(Generic[T]):
    """One thread that converts; all else is for the thread that owns the images.

    A decoder process would do it, too, but to bring float32 numbers back from one costs the bridge
    more than to make them: 0.7 ms of its CPU time for an image of 224 x 224 instead of 0.15 ms.
    While numpy works here, it lets the other threads of the bridge run.
    """

    def __init__(self, rules: ImageRules) -> None:
        self._rules = rules
        self._waiting: list[T] = []
        self._bytes = 0
        self._jobs: SimpleQueue[Sequence[T] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self.pending = 0
        """Images that were added and not taken."""

    def start(self, reply: Callable[[Converted], None]) -> None:
        """Start the thread, where a model needs it.

        Args:
            reply: called on that thread; it may only enqueue, for `take`.
        """
        if self._rules.shape is not None and not self._rules.tensor.plain:
            self._thread = Thread(target=self._run, args=(reply,), name="converter", daemon=True)
            self._thread.start()

    def add(self, item: T) -> None:
        """One more image; its pixels are as many as the model's input has."""
        self.pending += 1
        self._waiting.append(item)
        self._bytes += len(item.value)
        if self._bytes >= SLICE_BYTES:
            self.feed()

    def feed(self) -> None:
        """Hand over what was added."""
        if self._waiting:
            self._jobs.put(self._waiting)
            self._waiting, self._bytes = [], 0

    def take(self, converted: Converted) -> None:
        """Count what was handed back."""
        self.pending -= len(converted.items)

    def close(self) -> None:
        """End the thread; what it still has is not converted."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(JOIN_S)

    def _run(self, reply: Callable[[Converted], None]) -> None:
        while (items := self._jobs.get()) is not None:
            result: Array | Exception
            try:
                result = self._convert([item.value for item in items])
            except Exception as error:  # its images' to bear, or the bridge's: not this thread's
                result = error
            reply(Converted(items, result))

    def _convert(self, values: Sequence[bytes]) -> Array:
        assert self._rules.shape is not None
        pixels = np.frombuffer(b"".join(values), np.uint8)
        return to_tensor(pixels.reshape(len(values), *self._rules.shape), self._rules.tensor)
