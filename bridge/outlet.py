"""Where every image leaves: as a prediction, as a dead letter, or because another bridge has it."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import structlog

from bridge.accounts import Reason
from bridge.freshness import Freshness
from bridge.fuse import Fuse
from bridge.guard import Unforeseen
from bridge.images import NOTHING, EndedRequest, Publication, ReceivedRecord
from bridge.inference import Answer
from bridge.kafka.assignment import Assignment
from bridge.kafka.delivery import Delivery
from bridge.metrics import Metrics
from bridge.predicting import Made, Predictions, Problem
from bridge.stage_times import observe_stages
from wire.deadletter import EXPIRED, INTERNAL, DeadLetter, encode_dead_letter, smaller_letter
from wire.image import ImageEvent
from wire.record import Outgoing, StoredRecord

if TYPE_CHECKING:
    from bridge.tracing import BridgeTracing

log = structlog.get_logger()

EXPIRED_LOG_NS = 60_000_000_000
"""Time between two log lines about expired images, in nanoseconds: in an overload every other
image may be one."""


class Outlet:
    """Every image leaves the bridge here, once. All methods are for the pipeline's thread; only the
    `instead` of a publication may be called on others.

    Args:
        predictions: makes predictions from the model's answers.
        tracing: None where tracing is off.
        clock_ns: returns epoch nanoseconds.
    """

    def __init__(
        self,
        *,
        predictions: Predictions,
        dead_letters_topic: str,
        delivery: Delivery,
        assignment: Assignment[Publication],
        fuse: Fuse,
        metrics: Metrics,
        freshness: Freshness = Freshness(),  # noqa: B008 - it is frozen
        tracing: "BridgeTracing | None" = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._predictions = predictions
        self._freshness = freshness
        self._expired = 0
        self._told_at_ns = 0
        """`_expired`: images that expired since the last log line about them; `_told_at_ns`: the
        time of that line."""
        self._dead_letters_topic = dead_letters_topic
        self._delivery = delivery
        self._assignment = assignment
        self._fuse = fuse
        self._metrics = metrics
        self._tracing = tracing
        self._clock_ns = clock_ns
        self._unforeseen = Unforeseen()
        self._held: list[tuple[ReceivedRecord, Problem, int]] = []
        """Dead letters that wait for the first answer."""

    @property
    def holding(self) -> bool:
        """Whether dead letters wait for the first answer."""
        return bool(self._held)

    def give_up_waiting(self) -> None:
        """Blow the fuse for the dead letters that wait: no image is left for the first answer.

        Raises:
            FuseBlownError: dead letters wait; none of them is published, so none is committed.
        """
        held, self._held = self._held, []
        for arrival, problem, attempts in held:
            if arrival.tracker.revoked:
                self.drop(arrival)
            else:
                self._held.append((arrival, problem, attempts))
        if self._held:
            self._fuse.blow(len(self._held), _text(self._held[-1][1]))

    def _dead_letter_held(self) -> None:
        held, self._held = self._held, []
        for arrival, problem, attempts in held:
            if arrival.tracker.revoked:
                self.drop(arrival)
            else:
                self.dead_letter(arrival, *problem, attempts)

    def answer(self, outcome: EndedRequest, answer: Answer) -> None:
        """Publish the predictions of a batch, and dead letters for images that can have none.

        Raises:
            FuseBlownError: there are too many dead letters.
        """
        answered = told = 0
        predictions = []
        for image, result in zip(outcome.batch, answer.results, strict=True):
            arrival = image.arrival
            if arrival.fetched:
                self.release_fetched(arrival)
            if arrival.tracker.revoked:
                self.drop(arrival)
                continue
            made = self._predictions.make(image, outcome, answer.version, result)
            if isinstance(made, Made):
                refused = partial(self._refused, arrival, made.topic)
                predictions.append((arrival, Publication(made.topic, made.record, refused)))
                answered += 1
            else:
                # In the batch's order, because the fuse counts dead letters in a row.
                self._fuse.answered(answered - told)
                told = answered
                self.dead_letter(arrival, *made)
        self._fuse.answered(answered - told)
        # All at once: Kafka's client waits half a millisecond for more records, and a request that
        # holds few costs it and the broker as much as one that holds many.
        self._delivery.publish(predictions)
        observe_stages(self._metrics, outcome)
        self._metrics.count_predictions(
            result[0]["label"] for result in answer.results if isinstance(result, tuple) and result
        )
        if answered:
            self._dead_letter_held()

    def dead_letter(
        self, arrival: ReceivedRecord, stage: str, error_class: str, message: str, attempts: int = 1
    ) -> None:
        """Dead-letter an image with its reason.

        Raises:
            FuseBlownError: this dead letter is one too many; it is not published, so not committed.
        """
        problem = (stage, error_class, message)
        if arrival.fetched:
            self.release_fetched(arrival)
        if self._fuse.holds():
            self._held.append((arrival, problem, attempts))
            return
        self._publish(arrival, self._letter(arrival, problem, attempts))

    def _publish(self, arrival: ReceivedRecord, letter: DeadLetter) -> None:
        traceparent = None
        if (tracing := self._tracing) is not None:
            topic, now_ns = self._dead_letters_topic, self._clock_ns()
            traceparent = self._unforeseen.shield(
                "trace", lambda: tracing.dead_letter(arrival, letter, topic, now_ns), None
            )
        self._delivery.publish([(arrival, self._dead(arrival, letter, traceparent))])

    def expire(self, arrival: ReceivedRecord, stage: str, event: ImageEvent, now_ns: int) -> None:
        """End an image that is too old to be worked on. Nothing is wrong with the image or with the
        deployment, so the fuse does not count it.

        Args:
            stage: what the image waited for: decode or infer.
        """
        self._expired += 1
        message = self._freshness.text(event.intended_ns, now_ns)
        if now_ns - self._told_at_ns >= EXPIRED_LOG_NS:
            log.warning("images_expired", images=self._expired, last=message, stage=stage)
            self._expired, self._told_at_ns = 0, now_ns
        if not self._freshness.drop:
            self._publish(arrival, self._reason(arrival, (stage, EXPIRED, message), 0))
            return
        if (tracing := self._tracing) is not None:
            self._unforeseen.shield("trace", lambda: tracing.expire(arrival, stage, now_ns), None)
        nothing = Publication("", Outgoing(None, None, []), None, (stage, EXPIRED), silent=True)
        self._delivery.skip([(arrival, nothing)])

    def dead_letter_unforeseen(self, arrival: ReceivedRecord, stage: str, error: Exception) -> None:
        """Dead-letter an image for an error that no rule foresees.

        Raises:
            FuseBlownError: this dead letter is one too many.
            MemoryError: the error is one, which says nothing about the image.
        """
        self.dead_letter(arrival, stage, INTERNAL, self._unforeseen.note(stage, error))

    def _letter(self, arrival: ReceivedRecord, problem: Problem, attempts: int) -> DeadLetter:
        """Build one more dead letter's reason and count it for the fuse.

        Raises:
            FuseBlownError: this dead letter is one too many.
        """
        # Before publishing: when the fuse blows, this image must stay uncommitted like the others.
        self._fuse.dead(_text(problem))
        return self._reason(arrival, problem, attempts)

    def _reason(self, arrival: ReceivedRecord, problem: Problem, attempts: int) -> DeadLetter:
        stage, error_class, message = problem
        log.debug(
            "dead_letter", stage=stage, reason=error_class, error=message[:200],
            partition=arrival.tracker.partition, offset=arrival.record.offset(),
        )  # fmt: skip
        return DeadLetter(
            stage=stage,
            error_class=error_class,
            message=message,
            topic=arrival.tracker.topic,
            partition=arrival.tracker.partition,
            offset=arrival.record.offset(),
            attempts=attempts,
            timestamp_ms=self._clock_ns() // 1_000_000,
        )

    def _dead(
        self, arrival: ReceivedRecord, letter: DeadLetter, traceparent: str | None
    ) -> Publication:
        try:
            dead = encode_dead_letter(arrival.record, letter, traceparent, arrival.id)
        except Exception as error:
            # This last resort needs nothing of the record: where the image was can always be said.
            self._unforeseen.note("publish", error)
            dead = encode_dead_letter(StoredRecord(), letter)
        return _shrinkable(self._dead_letters_topic, dead, (letter.stage, letter.error_class))

    def _refused(self, arrival: ReceivedRecord, topic: str, refusal: str) -> Publication:
        """The dead letter of an image whose prediction Kafka refuses; may be called on any thread.

        Raises:
            FuseBlownError: this dead letter is one too many.
        """
        message = (
            f"Kafka refuses its prediction on topic {topic} as {refusal}: see the topic's "
            "max.message.bytes and cleanup.policy, and the size of the image's key"
        )
        letter = self._letter(arrival, ("publish", refusal, message), 1)
        return self._dead(arrival, letter, None)

    def release_fetched(self, arrival: ReceivedRecord) -> None:
        """Count the bytes fetched for an image as released: it has become pixels, or has an
        outcome."""
        self._assignment.resize(arrival.tracker, arrival.key, -arrival.fetched)
        arrival.fetched = 0

    def skip(self, arrival: ReceivedRecord) -> None:
        """End a record that has no image and needs no answer."""
        log.debug(
            "record_skipped", partition=arrival.tracker.partition, offset=arrival.record.offset()
        )
        self._delivery.skip([(arrival, NOTHING)])

    def drop(self, arrival: ReceivedRecord) -> None:
        """Drop an image whose partition was revoked: another bridge answers it."""
        if (tracing := self._tracing) is not None:
            now_ns = self._clock_ns()
            self._unforeseen.shield("trace", lambda: tracing.drop(arrival, now_ns), None)
        if arrival.fetched:
            self.release_fetched(arrival)
        self._assignment.finish([(arrival.tracker, arrival.key, None)])


def _text(problem: Problem) -> str:
    stage, error_class, message = problem
    return f"{stage}/{error_class}: {message[:200]}"


def _shrinkable(topic: str, letter: Outgoing, reason: Reason) -> Publication:
    """A dead letter that leaves out one part after another while Kafka refuses it."""

    def instead(_refusal: str) -> Publication | None:
        smaller = smaller_letter(letter)
        return None if smaller is None else _shrinkable(topic, smaller, reason)

    return Publication(topic, letter, instead, reason)
