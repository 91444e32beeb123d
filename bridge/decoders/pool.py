"""The decoders: images go to them in slices; one that kills or holds its decoder stands alone."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import structlog

from bridge.decoders.messages import Decoded
from bridge.decoders.process import SLICE_IMAGES, Decoder, Died
from imaging.rules import ImageError, ImageRules, Size
from imaging.tensor import Array

log = structlog.get_logger()

SLICE_BYTES = 256 << 10
"""A slice of encoded images takes a decoder some milliseconds: long enough that handing it over
costs little, short enough that the first image of it need not wait for the last."""
SLOW_S = 1.0
"""Time at one image, in seconds, after which the others of its slice go to another decoder, which
is started for that."""
UNBLAMED = 5
"""Decoders that may die one after the other with images in flight and at none of them."""


class Encoded(Protocol):
    """Something that has an encoded image."""

    @property
    def value(self) -> bytes: ...


T = TypeVar("T", bound=Encoded)


class DecoderError(Exception):
    """Decoders cannot even start: no image's doing."""


@dataclass(slots=True)
class Slice(Generic[T]):
    """Images that went to a decoder together.

    Attributes:
        left: places of those that are still this decoder's to decode.
        again: a decoder died of its only image before. The kernel may have killed that one for
            want of memory, so there is a second try.
    """

    items: Sequence[T]
    left: set[int]
    again: bool = False


class Backlog(Generic[T]):
    """What waits for a decoder, cut into slices. Pure."""

    def __init__(self) -> None:
        self._waiting: deque[T] = deque()
        self._suspects: deque[T] = deque()

    def add(self, item: T) -> None:
        self._waiting.append(item)

    def __bool__(self) -> bool:
        return bool(self._waiting or self._suspects)

    def next_slice(self, gone: Callable[[T], bool] | None = None) -> Slice[T] | None:
        """The next images to decode; those that are gone are passed over, for good."""
        if self._suspects:
            return Slice([self._suspects.popleft()], {0}, again=True)
        items: list[T] = []
        size = 0
        while self._waiting and len(items) < SLICE_IMAGES and size < SLICE_BYTES:
            item = self._waiting.popleft()
            if gone is not None and gone(item):
                continue
            items.append(item)
            size += len(item.value)
        return Slice(items, set(range(len(items)))) if items else None

    def leave(self, piece: Slice[T], place: int | None) -> None:
        """All of a slice but the image at this place goes to another decoder."""
        others = sorted(piece.left - {place}, reverse=True)
        self._waiting.extendleft(piece.items[other] for other in others)
        piece.left.difference_update(others)

    def died(self, piece: Slice[T], died: Died) -> T | None:
        """A decoder died of this slice: all but the image that it was at go again.

        Where it says that it was at none of them, an image may have taken it over: each goes again
        by itself.

        Returns:
            The image that it was at, if it does not get another try.
        """
        known = died.place is None or died.place in piece.left
        if known:
            self.leave(piece, died.place)
        for place in sorted(piece.left):
            if piece.again or (died.too_slow and known):
                return piece.items[place]
            self._suspects.append(piece.items[place])
        return None


class Made(NamedTuple):
    """The model's input that an image became, and the image's size."""

    array: Array
    size: Size


class Reply(NamedTuple):
    """What a decoder made of its slice, or that it is no more."""

    decoder: Decoder
    result: Decoded | Died


class Decoders(Generic[T]):
    """A number of decoders, each with one slice at a time. All of it is for one thread.

    While one of them is held up by an image, another takes its place, so that there may be twice
    as many for a while.
    """

    def __init__(self, count: int, rules: ImageRules) -> None:
        self._count = count
        self._rules = rules
        self._reply: Callable[[Reply], None] | None = None
        self._backlog: Backlog[T] = Backlog()
        self._idle: deque[Decoder] = deque()
        self._working: dict[Decoder, Slice[T]] = {}
        self._unblamed = 0
        self._told = False
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

    def feed(self, gone: Callable[[T], bool] | None = None) -> None:
        """Give every idle decoder a slice; see to those that are held up. To be called often.

        Args:
            gone: whether an image need not be decoded any more; then it has taken care of it.

        Raises:
            DecoderError: decoders do not start.
        """
        self._watch(time.monotonic())
        while self._idle and self._backlog:
            decoder = self._idle.popleft()
            if not decoder.alive:  # it died with nothing in flight: no image's doing
                self._replace(decoder, "while it was idle")
                continue
            piece = self._backlog.next_slice(self._passed_over(gone))
            if piece is None:  # all that waited is gone
                self._idle.appendleft(decoder)
                break
            self._working[decoder] = piece
            decoder.decode([item.value for item in piece.items])

    def _passed_over(self, gone: Callable[[T], bool] | None) -> Callable[[T], bool] | None:
        """`gone`, which counts those that are."""
        if gone is None:
            return None

        def counted(item: T) -> bool:
            found = gone(item)
            self.pending -= found
            return found

        return counted

    def _watch(self, now: float) -> None:
        held_up = 0
        for decoder, piece in self._working.items():
            decoder.kill_if_stuck(now)
            place = decoder.place
            if place is not None and decoder.seconds_at_it(now) > SLOW_S:
                held_up += 1
                self._backlog.leave(piece, place)
        for decoder in self._idle:
            if not decoder.started:
                decoder.kill_if_stuck(now)
        if (
            self._backlog
            and not self._idle
            and len(self._working) < self._count + min(held_up, self._count)
        ):
            self._add_decoder()

    def take(self, reply: Reply) -> list[tuple[T, Made | ImageError]]:
        """What became of each image; nothing of those that go to a decoder again.

        Raises:
            DecoderError: decoders do not start.
        """
        decoder, result = reply
        nothing: Slice[T] = Slice((), set())
        piece = self._working.pop(decoder, nothing)
        if isinstance(result, Decoded):
            self._unblamed = 0
            if decoder.missing and not self._told:
                self._told = True
                log.warning("decoders_less_confined", kernel_lacks=decoder.missing)
            if len(self._idle) + len(self._working) < self._count:
                self._idle.append(decoder)
            else:
                decoder.close()  # another has taken its place
            self.pending -= len(piece.left)
            sizes = result.sizes.tolist()
            return [
                (
                    piece.items[place],
                    ImageError(*result.errors[place])
                    if place in result.errors
                    else Made(result.inputs[place], tuple(sizes[place])),
                )
                for place in sorted(piece.left)
            ]
        if decoder in self._idle:
            self._idle.remove(decoder)
        self._unblamed += result.place is None and bool(piece.left)
        self._replace(decoder, result.how)
        culprit = self._backlog.died(piece, result)
        if culprit is None:
            return []
        self.pending -= 1
        if result.too_slow:
            return [(culprit, ImageError("too_slow", f"decoding it takes {result.how}"))]
        return [(culprit, ImageError("decoder_crash", f"the decoder died of it: {result.how}"))]

    def close(self) -> None:
        """End the decoders; what they had is not decoded."""
        for decoder in (*self._idle, *self._working):
            decoder.close()

    def _replace(self, decoder: Decoder, how: str) -> None:
        decoder.close()
        if not decoder.started:
            raise DecoderError(f"a decoder process cannot start: {how}")
        if self._unblamed > UNBLAMED:
            raise DecoderError(f"decoder processes keep dying, and no image is the cause: {how}")
        log.warning("decoder_died", how=how)
        if len(self._idle) + len(self._working) < self._count:
            self._add_decoder()

    def _add_decoder(self) -> None:
        reply = self._reply
        assert reply is not None
        try:
            self._idle.append(Decoder(self._rules, lambda *made: reply(Reply(*made))))
        except OSError as error:
            raise DecoderError(f"a decoder process cannot start: {error.strerror}") from None
