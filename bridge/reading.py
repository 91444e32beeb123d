"""From records to decoded images: the envelope, then the pixels."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.converting import Converted, Converter
from bridge.decoders.messages import Decoded
from bridge.decoders.pool import Decoders, Reply
from bridge.decoders.process import Died
from bridge.freshness import Freshness
from bridge.guard import Unforeseen
from bridge.images import DecodedImage, ReceivedRecord
from bridge.metrics import Metrics
from bridge.outlet import Outlet
from bridge.references.finding import References, refers
from bridge.references.wanted import Fetched
from imaging.decode import needs_converting, needs_decoder, to_input
from imaging.rules import ImageError, ImageRules, Input, Size
from storage.objects import RefusedError
from wire.image import ImageEvent, decode_image
from wire.record import ContractError
from wire.wrappings.bounds import WrappingError
from wire.wrappings.cloudevents import NoDataError
from wire.wrappings.unwrap import Wrapping, hint, read_image

if TYPE_CHECKING:
    from bridge.tracing import BridgeTracing

SLICE_NS = 2_000_000
"""Nanoseconds after which reading new images yields, so that a free slot or an answer never waits
for a pile of images."""


@dataclass(frozen=True, slots=True)
class _Unready:
    """An image on its way to a decoder, or to the converter."""

    arrival: ReceivedRecord
    event: ImageEvent
    value: bytes


class ImageReader:
    """Owns the images that arrived and are not decoded. Everything is for the pipeline's thread.

    Args:
        outlet: gets images that cannot be read, and those that are too old.
        references: handles records that only refer to their images.
        wrapping: how values carry their images.
        tracing: None where tracing is off.
        clock_ns: returns epoch nanoseconds.
    """

    def __init__(
        self,
        *,
        rules: ImageRules,
        decoders: int,
        outlet: Outlet,
        references: References,
        metrics: Metrics,
        wrapping: Wrapping = Wrapping(),  # noqa: B008 - it is frozen
        freshness: Freshness = Freshness(),  # noqa: B008
        tracing: "BridgeTracing | None" = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._rules = rules
        self._outlet = outlet
        self._references = references
        self._metrics = metrics
        self._wrapping = wrapping
        self._freshness = freshness
        self._tracing = tracing
        self._clock_ns = clock_ns
        self._unforeseen = Unforeseen()
        self._hand_on: Callable[[DecodedImage], None] | None = None
        self._unread: deque[ReceivedRecord] = deque()
        self._decoders: Decoders[_Unready] = Decoders(
            decoders if rules.shape is not None else 0, rules
        )
        self._converter: Converter[_Unready] = Converter(rules)
        self._converts = rules.shape is not None and not rules.tensor.plain

        self.fetching = 0
        """Images that are being fetched."""

    @property
    def unread(self) -> bool:
        """Whether `read` has something to do."""
        return bool(self._unread)

    @property
    def pending(self) -> bool:
        """Whether more images may become ready by themselves."""
        return bool(self._unread or self._decoders.pending or self._converter.pending)

    def start(
        self,
        ready: Callable[[DecodedImage], None],
        reply: Callable[[Reply | Converted], None],
    ) -> None:
        """Start the decoders and the converter.

        Args:
            ready: called with each decoded image.
            reply: called on a thread of the decoders or the converter; it may only enqueue the
                result for `decoded` or `converted`.

        Raises:
            DecoderError: no process can be started.
        """
        self._hand_on = ready
        self._decoders.start(reply)
        self._converter.start(reply)

    def close(self) -> None:
        self._decoders.close()
        self._converter.close()

    def add(self, arrivals: Sequence[ReceivedRecord]) -> None:
        self._unread.extend(arrivals)

    def read(self) -> None:
        """Read envelopes for at most `SLICE_NS`; encoded images go to the decoders.

        Raises:
            DecoderError: the decoders do not start.
            FuseBlownError: there are too many dead letters.
        """
        deadline = self._clock_ns() + SLICE_NS
        while self._unread:
            self._read_one(self._unread.popleft())
            if self._clock_ns() > deadline:
                break
        self._decoders.feed(self._gone if self._freshness.max_age_ns else None)
        self._converter.feed()

    def _gone(self, encoded: _Unready) -> bool:
        """Whether an image that waited for a decoder need not be decoded; if so, it is ended
        here."""
        if encoded.arrival.tracker.revoked:
            self._outlet.drop(encoded.arrival)
            return True
        return self._expired(encoded.arrival, encoded.event)

    def _expired(self, arrival: ReceivedRecord, event: ImageEvent) -> bool:
        if not self._freshness.max_age_ns:
            return False
        now_ns = self._clock_ns()
        if not self._freshness.expired(event.intended_ns, now_ns):
            return False
        self._outlet.expire(arrival, "decode", event, now_ns)
        return True

    def _read_one(self, arrival: ReceivedRecord) -> None:
        if arrival.tracker.revoked:
            self._outlet.drop(arrival)
            return
        try:
            event, value = read_image(arrival.record, self._wrapping)
        except ContractError as error:
            self._refused(arrival, error)
            return
        except Exception as error:
            self._outlet.dead_letter_unforeseen(arrival, "contract", error)
            return
        wrapped = value is not (arrival.record.record_value or b"")
        if wrapped:
            arrival.id = event.id
        if not (wrapped and value) and self._referred(arrival, event, value):
            return
        self._begin_trace(arrival, event)
        self._prepare(arrival, event, value)

    def _refused(self, arrival: ReceivedRecord, error: ContractError) -> None:
        """Dead-letter a record that no image can be read from, unless it refers to images."""
        if isinstance(error, NoDataError):
            record = arrival.record
            if self._referred(arrival, decode_image(record), record.record_value or b""):
                return
        self._begin_trace(arrival, None)
        kind = error.kind if isinstance(error, WrappingError) else "contract"
        self._outlet.dead_letter(arrival, "contract", kind, str(error))

    def _referred(self, arrival: ReceivedRecord, event: ImageEvent, value: bytes) -> bool:
        """Whether a record only refers to images; if so, they are fetched, or ended here."""
        if not refers(event, value):
            return False
        count = self._references.take(arrival, event, value, self._begin_trace, self._expired)
        self.fetching += count or 0
        return count is not None

    def fetched(self, fetched: Fetched) -> None:
        """Read an image that was fetched.

        Raises:
            FuseBlownError: there are too many dead letters.
        """
        self.fetching -= 1
        wanted, result = fetched.wanted, fetched.result
        if result is None or wanted.arrival.tracker.revoked:
            self._outlet.drop(wanted.arrival)
        elif isinstance(result, bytes):
            self._prepare(wanted.arrival, wanted.event, result)
        elif isinstance(result, RefusedError):
            self._outlet.dead_letter(wanted.arrival, "fetch", result.kind, str(result))
        else:
            self._outlet.dead_letter_unforeseen(wanted.arrival, "fetch", result)

    def _prepare(self, arrival: ReceivedRecord, event: ImageEvent, value: bytes) -> None:
        if self._freshness.max_age_ns and self._expired(arrival, event):
            return
        try:
            if needs_decoder(event, self._rules):
                self._decoders.add(_Unready(arrival, event, value))
                return
            if self._converts and needs_converting(event, value, self._rules):
                self._converter.add(_Unready(arrival, event, value))
                return
            array = to_input(event, value, self._rules)
        except ImageError as error:
            self._outlet.dead_letter(arrival, "decode", error.kind, _told(error, value))
        except Exception as error:
            self._outlet.dead_letter_unforeseen(arrival, "decode", error)
        else:
            self._ready(arrival, event, array, None)

    def _begin_trace(self, arrival: ReceivedRecord, event: ImageEvent | None) -> None:
        if (tracing := self._tracing) is not None:
            self._unforeseen.shield("trace", lambda: tracing.begin(arrival, event), None)

    def decoded(self, reply: Reply) -> None:
        """Hand on the images that a decoder has decoded.

        Raises:
            DecoderError: the decoders do not start.
            FuseBlownError: there are too many dead letters.
        """
        if isinstance(reply.result, Died):
            self._metrics.decoder_deaths.inc()
        for encoded, result in self._decoders.take(reply):
            if encoded.arrival.tracker.revoked:
                self._outlet.drop(encoded.arrival)
            elif isinstance(result, ImageError):
                message = _told(result, encoded.value)
                self._outlet.dead_letter(encoded.arrival, "decode", result.kind, message)
            else:
                self._ready(encoded.arrival, encoded.event, *result)
        if isinstance(reply.result, Decoded):
            self._metrics.decoder.observe(reply.result.seconds)

    def converted(self, converted: Converted) -> None:
        """Hand on the inputs that the converter has made.

        Raises:
            FuseBlownError: there are too many dead letters.
            MemoryError: there was no memory to convert the pixels.
        """
        self._converter.take(converted)
        result = converted.result
        for place, raw in enumerate(converted.items):
            if raw.arrival.tracker.revoked:
                self._outlet.drop(raw.arrival)
            elif isinstance(result, Exception):
                self._outlet.dead_letter_unforeseen(raw.arrival, "decode", result)
            else:
                self._ready(raw.arrival, raw.event, result[place], None)

    def _ready(
        self, arrival: ReceivedRecord, event: ImageEvent, array: Input, size: Size | None
    ) -> None:
        assert self._hand_on is not None
        if arrival.fetched and not isinstance(array, bytes):
            self._outlet.release_fetched(arrival)
        self._hand_on(DecodedImage(arrival, event, array, self._clock_ns(), size))


def _told(error: ImageError, value: bytes) -> str:
    """Why an image cannot be used; if it looks wrapped, also the setting that would read it."""
    return f"{error}{hint(value)}" if error.kind == "not_an_image" else str(error)
