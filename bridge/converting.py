"""Converts raw pixels into the model's input numbers on a thread beside the pipeline's loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from imaging.rules import ImageRules
from imaging.tensor import Array, to_tensor

SLICE_BYTES = 256 << 10
"""Bytes of pixels that are converted together. They take less than a millisecond, so the first
image of them hardly waits for the last."""
JOIN_S = 10.0


class RawPixels(Protocol):
    """Something that holds an image's pixels, uint8 [height, width, channels]."""

    @property
    def value(self) -> bytes: ...


T = TypeVar("T", bound=RawPixels)


@dataclass(frozen=True, slots=True)
class Converted:
    """The result for some images: the inputs [images, *dims], or the error that prevented them."""

    items: Sequence[Any]
    result: Array | Exception


class Converter(Generic[T]):
    """One thread that converts; all methods are for the thread that owns the images.

    A decoder process could do this, too, but getting float32 numbers back from a process costs the
    bridge more than making them: 0.7 ms of its CPU time for an image of 224 x 224 instead of
    0.15 ms. numpy lets the bridge's other threads run while it converts.
    """

    def __init__(self, rules: ImageRules) -> None:
        self._rules = rules
        self._waiting: list[T] = []
        self._bytes = 0
        self._jobs: SimpleQueue[Sequence[T] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self.pending = 0
        """Images that were added and whose result was not taken yet."""

    def start(self, reply: Callable[[Converted], None]) -> None:
        """Start the thread, if the model needs conversion.

        Args:
            reply: called on that thread with each result; it may only enqueue it for `take`.
        """
        if self._rules.shape is not None and not self._rules.tensor.plain:
            self._thread = Thread(target=self._run, args=(reply,), name="converter", daemon=True)
            self._thread.start()

    def add(self, item: T) -> None:
        """Add one image, with as many pixels as the model's input has."""
        self.pending += 1
        self._waiting.append(item)
        self._bytes += len(item.value)
        if self._bytes >= SLICE_BYTES:
            self.feed()

    def feed(self) -> None:
        """Hand over to the thread what was added."""
        if self._waiting:
            self._jobs.put(self._waiting)
            self._waiting, self._bytes = [], 0

    def take(self, converted: Converted) -> None:
        """Note that a result has arrived: its images are no longer pending."""
        self.pending -= len(converted.items)

    def close(self) -> None:
        """End the thread; images that still wait are not converted."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(JOIN_S)

    def _run(self, reply: Callable[[Converted], None]) -> None:
        while (items := self._jobs.get()) is not None:
            result: Array | Exception
            try:
                result = self._convert([item.value for item in items])
            except Exception as error:  # the pipeline handles it; this thread goes on
                result = error
            reply(Converted(items, result))

    def _convert(self, values: Sequence[bytes]) -> Array:
        assert self._rules.shape is not None
        pixels = np.frombuffer(b"".join(values), np.uint8)
        return to_tensor(pixels.reshape(len(values), *self._rules.shape), self._rules.tensor)
