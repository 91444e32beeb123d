"""The decoders: images go to them in slices, and the one that kills its decoder is found."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import structlog

from bridge.decoders.process import Decoded, Decoder, Died, Job
from imaging.rules import ImageError, ImageRules, Size
from imaging.tensor import Array

log = structlog.get_logger()

SLICE_IMAGES = 64
SLICE_BYTES = 256 << 10
"""A slice of encoded images takes a decoder some milliseconds: long enough that handing it over
costs little, short enough that the first image of it need not wait for the last."""
TRIES = 2
"""Of an image alone in its slice: the kernel may have killed the first for want of memory."""


class Encoded(Protocol):
    """Something that has an encoded image."""

    @property
    def job(self) -> Job: ...


T = TypeVar("T", bound=Encoded)


class DecoderError(Exception):
    """Decoders cannot even start: no image's doing."""


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """Images that go to a decoder together."""

    items: Sequence[T]
    tries: int = 0


class Backlog(Generic[T]):
    """What waits for a decoder, cut into slices. Pure."""

    def __init__(self) -> None:
        self._waiting: deque[T] = deque()
        self._suspects: deque[Slice[T]] = deque()

    def add(self, item: T) -> None:
        self._waiting.append(item)

    def __bool__(self) -> bool:
        return bool(self._waiting or self._suspects)

    def next_slice(self) -> Slice[T] | None:
        if self._suspects:
            return self._suspects.popleft()
        items: list[T] = []
        size = 0
        while self._waiting and len(items) < SLICE_IMAGES and size < SLICE_BYTES:
            item = self._waiting.popleft()
            items.append(item)
            size += len(item.job.value)
        return Slice(items) if items else None

    def died(self, piece: Slice[T]) -> T | None:
        """A decoder died of this slice: its halves go again by themselves to find the culprit.

        Returns:
            The culprit, once it was alone and had its tries; it does not go again.
        """
        middle = len(piece.items) // 2
        if middle:
            self._suspects.extend((Slice(piece.items[:middle]), Slice(piece.items[middle:])))
        elif piece.tries + 1 < TRIES:
            self._suspects.append(Slice(piece.items, piece.tries + 1))
        else:
            return piece.items[0]
        return None


class Made(NamedTuple):
    """The model's input that an image became, and the image's size."""

    array: Array
    size: Size | None


class Reply(NamedTuple):
    """What a decoder made of its slice, or that it is no more."""

    decoder: Decoder
    result: Decoded | Died


class Decoders(Generic[T]):
    """A number of decoders, each with one slice at a time. All of it is for one thread."""

    def __init__(self, count: int, rules: ImageRules) -> None:
        self._count = count
        self._rules = rules
        self._reply: Callable[[Reply], None] | None = None
        self._backlog: Backlog[T] = Backlog()
        self._idle: deque[Decoder] = deque()
        self._working: dict[Decoder, Slice[T]] = {}
        self.pending = 0
        """Images that were added and not taken."""

    def start(self, reply: Callable[[Reply], None]) -> None:
        """Start the processes; they take a moment, and slices may be given to them at once.

        Args:
            reply: called on a thread of the decoders'; it may only enqueue, for `take`.

        Raises:
            DecoderError: there can be no more processes.
        """
        self._reply = reply
        for _ in range(self._count):
            self._add_decoder()

    def add(self, item: T) -> None:
        self._backlog.add(item)
        self.pending += 1

    def feed(self) -> None:
        """Give every idle decoder a slice; end those that hang.

        Raises:
            DecoderError: decoders do not start.
        """
        while self._idle and self._backlog:
            decoder = self._idle.popleft()
            if not decoder.alive:  # it died with nothing in hand: no image's doing
                self._replace(decoder, "while it was idle")
                continue
            piece = self._backlog.next_slice()
            assert piece is not None
            self._working[decoder] = piece
            decoder.decode([item.job for item in piece.items])
        now = time.monotonic()
        for decoder in self._working:
            if now > decoder.deadline:
                decoder.kill()

    def take(self, reply: Reply) -> list[tuple[T, Made | ImageError]]:
        """What became of each image; nothing of those that go to a decoder again.

        Raises:
            DecoderError: decoders do not start.
        """
        decoder, result = reply
        nothing: Slice[T] = Slice(())
        piece = self._working.pop(decoder, nothing)
        if isinstance(result, Decoded):
            self._idle.append(decoder)
            self.pending -= len(piece.items)
            made = zip(piece.items, result.inputs, result.sizes.tolist(), strict=True)
            return [
                (
                    item,
                    ImageError(*result.errors[place])
                    if place in result.errors
                    else Made(array, (width, height) if width else None),
                )
                for place, (item, array, (width, height)) in enumerate(made)
            ]
        self._replace(decoder, result.how)
        culprit = self._backlog.died(piece)
        if culprit is None:
            return []
        self.pending -= 1
        return [(culprit, ImageError("decoder_crash", f"the decoder died of it: {result.how}"))]

    def close(self) -> None:
        """End the decoders; what they had is not decoded."""
        for decoder in (*self._idle, *self._working):
            decoder.close()

    def _replace(self, decoder: Decoder, how: str) -> None:
        decoder.close()
        if not decoder.started:
            raise DecoderError(f"a decoder process cannot start: {how}")
        log.warning("decoder_died", how=how)
        self._add_decoder()

    def _add_decoder(self) -> None:
        reply = self._reply
        assert reply is not None
        try:
            self._idle.append(Decoder(self._rules, lambda *made: reply(Reply(*made))))
        except OSError as error:
            raise DecoderError(f"a decoder process cannot start: {error.strerror}") from None
