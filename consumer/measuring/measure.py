"""The measuring loop: reads records and matches them until the run has ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from consumer.measuring.answers import Answers
from consumer.measuring.matching import Matcher
from consumer.reader import Received
from wire.clock import kafka_time
from wire.deadletter import decode_dead_letter
from wire.image import image_id
from wire.prediction import Prediction, decode_prediction
from wire.record import ContractError, KafkaRecord, first_headers
from wire.wrappings.unwrap import read_image

if TYPE_CHECKING:
    from consumer.measuring.tracing import ConsumerTracing

EndedBy = Literal["count", "idle", "signal", "nothing-came"]

POLL_SECONDS = 0.1
SETTLE_SECONDS = 0.5
"""Seconds for which reading goes on after the last expected outcome, since a duplicate comes soon
after."""


class Source(Protocol):
    """A source of records, such as `consumer.reader.TopicReader`."""

    def poll(self, seconds: float) -> Received | None:
        """The next record, or None after `seconds`."""
        ...


@dataclass(frozen=True, slots=True)
class Topics:
    images: str
    predictions: str
    dead_letters: str


class Collector:
    """Passes each record to the matcher as an image, a prediction or a dead letter, by its topic.

    Attributes:
        answers: the answers of which a report shows more than a line.
        unreadable: records of this run that do not fit the contract of their topic.
    """

    def __init__(
        self,
        matcher: Matcher,
        topics: Topics,
        run_id: str | None,
        tracing: "ConsumerTracing | None" = None,
        decode: Callable[[KafkaRecord], Prediction] = decode_prediction,
    ) -> None:
        self.answers = Answers()
        self.unreadable = 0
        self._matcher = matcher
        self._topics = topics
        self._run_id = None if run_id is None else run_id.encode()
        self._tracing = tracing
        self._decode = decode

    def take(self, received: Received) -> bool:
        """Take a record; False: it belongs to another run, or its run is unknown."""
        record, at_ns, stored = received
        topic = record.topic()
        if record.unreadable is not None and (self._run_id or topic != self._topics.images):
            self.unreadable += 1  # neither its run nor its image can be known
            return self._run_id is None
        if self._run_id is not None:
            headers = first_headers(record.headers())
            if headers.get("ce_runid") != self._run_id:
                return False
        if topic == self._topics.images:
            self._image(record)
        elif topic == self._topics.dead_letters:
            reason = decode_dead_letter(record).error_class or "no reason given"
            self._matcher.dead_letter(image_id(record), reason, at_ns)
            if self._tracing is not None:
                self._tracing.dead_letter(record, at_ns)
        else:
            try:
                prediction = self._decode(record)
            except ContractError:
                self.unreadable += 1
            else:
                self._matcher.prediction(prediction, at_ns, stored=stored)
                if prediction.answer is not None:
                    self.answers.take(prediction, at_ns)
                if self._tracing is not None:
                    self._tracing.prediction(record, prediction, at_ns)
        return True

    def _image(self, record: KafkaRecord) -> None:
        place = (record.partition() or 0, record.offset() or 0)
        try:
            image, _ = read_image(record)
        except ContractError:
            # It was sent all the same, and its dead letter will have the same id.
            kafka_ns = kafka_time(record)
            self._matcher.image(image_id(record), kafka_ns, kafka_ns, None, place)
        else:
            self._matcher.image(image.id, image.intended_ns, image.sent_ns, image.label, place)


def measure(
    source: Source,
    collector: Collector,
    matcher: Matcher,
    *,
    count: int | None,
    idle: float,
    start_timeout: float,
    stop: Callable[[], bool],
    show: Callable[[Matcher], object],
    clock: Callable[[], float] = time.monotonic,
) -> EndedBy:
    """Read until the run has ended.

    Args:
        source: gives the records.
        collector: takes the records.
        matcher: filled by the collector.
        count: end once this many images have an outcome; None: end by idle time or stop.
        idle: end after so many seconds without a record of this run, once there was one.
        start_timeout: seconds to wait for the first record.
        stop: returns True to end at once.
        show: called now and then.
        clock: returns seconds.
    """
    begun = False
    last = clock()
    complete: float | None = None
    while not stop():
        received = source.poll(POLL_SECONDS)
        if received is not None and collector.take(received):
            begun = True
            last = clock()
        show(matcher)
        now = clock()
        if count is not None and matcher.resolved >= count:
            matcher.close()
            complete = now if complete is None else complete
            if now - complete >= SETTLE_SECONDS:
                return "count"
        if now - last >= (idle if begun else start_timeout):
            return "idle" if begun else "nothing-came"
    return "signal"
