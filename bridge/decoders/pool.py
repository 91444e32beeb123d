"""The decoders: they get images in slices, and one that kills or holds up its decoder is
isolated."""

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
"""Bytes of encoded images in a slice. They take a decoder some milliseconds: long enough that
handing them over costs little, short enough that the first image hardly waits for the last."""
SLOW_S = 1.0
"""Seconds spent on one image after which the others of its slice go to another decoder, which is
started for that."""
UNBLAMED = 5
"""Decoders that may die one after another with images in flight, but while decoding none."""


class Encoded(Protocol):
    """Something that has an encoded image."""

    @property
    def value(self) -> bytes: ...


T = TypeVar("T", bound=Encoded)


class DecoderError(Exception):
    """Decoders cannot even start; no image is the cause."""


@dataclass(slots=True)
class Slice(Generic[T]):
    """Images that went to a decoder together.

    Attributes:
        left: places of the images that this decoder still has to decode.
        again: its only image was with a decoder that died. The kernel may have killed that decoder
            for want of memory, so there is a second try.
    """

    items: Sequence[T]
    left: set[int]
    again: bool = False


class Backlog(Generic[T]):
    """The images that wait for a decoder, cut into slices. Pure."""

    def __init__(self) -> None:
        self._waiting: deque[T] = deque()
        self._suspects: deque[T] = deque()

    def add(self, item: T) -> None:
        self._waiting.append(item)

    def __bool__(self) -> bool:
        return bool(self._waiting or self._suspects)

    def next_slice(self, gone: Callable[[T], bool] | None = None) -> Slice[T] | None:
        """The next images to decode; None: there are none. Those that are gone are removed for
        good."""
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
        """Give all of a slice's images but the one at this place to another decoder."""
        others = sorted(piece.left - {place}, reverse=True)
        self._waiting.extendleft(piece.items[other] for other in others)
        piece.left.difference_update(others)

    def died(self, piece: Slice[T], died: Died) -> T | None:
        """Queue the images of a dead decoder's slice again, all but the one that it was decoding.

        If it says that it was decoding none of them, an image may have taken it over: each image is
        decoded again by itself.

        Returns:
            The image that it was decoding, if that image does not get another try.
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
    """An image's model input, and the size of the image."""

    array: Array
    size: Size


class Reply(NamedTuple):
    """What a decoder made of its slice, or how it died."""

    decoder: Decoder
    result: Decoded | Died


class Decoders(Generic[T]):
    """A number of decoders, each with one slice at a time. Everything is for one thread.

    While an image holds one of them up, another takes its place, so for a while there may be twice
    as many.
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
        """Images that were added and whose result was not taken yet."""

    def start(self, reply: Callable[[Reply], None]) -> None:
        """Start the processes; this takes a moment, but slices may be given to them at once.

        Args:
            reply: called on a thread of the decoders; it may only enqueue the reply for `take`.

        Raises:
            DecoderError: no more processes can be started.
        """
        self._reply = reply
        for _ in range(self._count):
            self._add_decoder()

    def add(self, item: T) -> None:
        self._backlog.add(item)
        self.pending += 1

    def feed(self, gone: Callable[[T], bool] | None = None) -> None:
        """Give each idle decoder a slice, and handle those that are held up. Must be called often.

        Args:
            gone: whether an image need not be decoded any more; if so, it has ended that image.

        Raises:
            DecoderError: the decoders do not start.
        """
        self._watch(time.monotonic())
        while self._idle and self._backlog:
            decoder = self._idle.popleft()
            if not decoder.alive:  # it died with nothing in flight, so no image is the cause
                self._replace(decoder, "while it was idle")
                continue
            piece = self._backlog.next_slice(self._passed_over(gone))
            if piece is None:  # all images that waited are gone
                self._idle.appendleft(decoder)
                break
            self._working[decoder] = piece
            decoder.decode([item.value for item in piece.items])

    def _passed_over(self, gone: Callable[[T], bool] | None) -> Callable[[T], bool] | None:
        """`gone`, but it also counts those images as no longer pending."""
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
        """The result of each image of a reply; images that go to a decoder again are left out.

        Raises:
            DecoderError: the decoders do not start.
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
        """End the decoders; images that they have are not decoded."""
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
