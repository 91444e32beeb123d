"""Finds out what has to be fetched for a record that only refers to images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge.images import Publication, ReceivedRecord
from bridge.kafka.assignment import Assignment
from bridge.outlet import Outlet
from bridge.references.wanted import Wanted
from storage.allowed import AllowList
from wire.image import NDARRAY, ImageEvent
from wire.object_events import Named, find_objects, may_refer
from wire.record import StoredRecord, first_headers
from wire.reference import BadReferenceError, Reference, parse_reference

MAX_APART = 16 << 20
"""Most bytes of memory that the messages about the single objects of one record may take together:
each of them repeats the record's headers."""


def refers(event: ImageEvent, value: bytes) -> bool:
    """Whether a record may only refer to its image. A cheap test; if wrong, it only costs work."""
    if event.dataref is not None and not value:
        return True
    return event.content_type != NDARRAY and may_refer(value)


@dataclass(frozen=True, slots=True)
class References:
    """Handles records that refer to images. Everything is for the pipeline's thread.

    Args:
        field: path of the field of a JSON message that holds a URL; empty: no field does.
        fetch: called with the images to fetch; None: no image may be fetched.
        pixel_bytes: bytes that an image takes once it is decoded.
    """

    allowed: AllowList
    field: str
    outlet: Outlet
    assignment: Assignment[Publication]
    fetch: Callable[[Sequence[Wanted]], None] | None = None
    pixel_bytes: int = 0

    def take(
        self,
        arrival: ReceivedRecord,
        event: ImageEvent,
        value: bytes,
        begin_trace: Callable[[ReceivedRecord, ImageEvent], None],
        expired: Callable[[ReceivedRecord, ImageEvent], bool],
    ) -> int | None:
        """Handle a record that only refers to images.

        Args:
            begin_trace: called for each image.
            expired: returns whether an image is too old; if so, it has ended that image.

        Returns:
            Number of its images that are being fetched; None: the record does not refer to images.

        Raises:
            FuseBlownError: there are too many dead letters.
        """
        try:
            found = self._find(arrival.record, event, value)
        except Exception as error:
            self.outlet.dead_letter_unforeseen(arrival, "fetch", error)
            return 0
        if found is None:
            return None
        if not found:
            self.outlet.skip(arrival)
            return 0
        wanted: list[Wanted] = []
        for one, named in zip(self._parts(arrival, event, found), found, strict=False):
            own = event._replace(
                id=named.id or event.id,
                intended_ns=named.intended_ns or event.intended_ns,
            )
            if own.id != event.id:
                one.id = own.id
            begin_trace(one, own)
            if expired(one, own):
                continue
            try:
                wanted.append(Wanted(one, own, self._check(named.reference)))
            except BadReferenceError as error:
                self.outlet.dead_letter(one, "fetch", error.kind, str(error))
        if wanted:
            assert self.fetch is not None
            self.fetch(wanted)
        return len(wanted)

    def _find(self, record: StoredRecord, event: ImageEvent, value: bytes) -> list[Named] | None:
        if event.dataref is None or value:
            found = find_objects(value, first_headers(record.headers()), self.field)
            return found and _bounded(record, found)
        try:
            return [Named(parse_reference(event.dataref))]
        except BadReferenceError as error:
            return [Named(error)]

    def _check(self, reference: Reference | BadReferenceError) -> Reference:
        if isinstance(reference, BadReferenceError):
            raise reference
        self.allowed.check(reference)
        return reference

    def _parts(
        self, arrival: ReceivedRecord, event: ImageEvent, found: list[Named]
    ) -> list[ReceivedRecord]:
        """The record itself, or a record for each of its images, with a message about it alone.

        Otherwise the dead letter of one image, sent again, would bring back all images of the
        record, and their predictions would share a key.
        """
        if len(found) == 1:
            return [arrival]
        record = arrival.record
        records = [
            StoredRecord(
                record.record_topic,
                record.record_partition,
                record.record_offset,
                (named.id or event.id).encode(),
                named.message,
                record.record_headers,
                record.timestamp_ms,
            )
            for named in found
        ]
        assert isinstance(arrival.key, int)
        keys = self.assignment.split(
            arrival.tracker, arrival.key, [one.size + self.pixel_bytes for one in records]
        )
        return [
            ReceivedRecord(one, arrival.tracker, key, arrival.received_ns)
            for one, key in zip(records, keys or (), strict=False)
        ]


def _bounded(record: StoredRecord, found: list[Named]) -> list[Named]:
    """These objects, or one error where the messages about each of them would be too large."""
    own = len(record.record_key or b"") + len(record.record_value or b"")
    size = len(found) * (record.size - own) + sum(len(one.message or b"") for one in found)
    if len(found) == 1 or size <= MAX_APART:
        return found
    problem = (
        f"{len(found):,} objects in one message, whose headers each of them would repeat: "
        f"{size:,} bytes, {MAX_APART:,} are allowed"
    )
    return [Named(BadReferenceError("reference", problem))]
