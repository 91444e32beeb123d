"""What an image becomes: an answer, a dead letter, or no longer this bridge's."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from bridge.fuse import Fuse
from bridge.inference import Answer
from bridge.kafka.assignment import Assignment
from bridge.kafka.at_least_once import Delivery
from bridge.metrics import Metrics
from bridge.tasks.task import AnswerError, Result
from bridge.work import Arrival, Outcome, Publication, Work
from imaging.rules import ImageError
from wire.deadletter import DeadLetter, encode_dead_letter
from wire.prediction import Prediction, encode_prediction
from wire.record import Outgoing, raw_bytes

if TYPE_CHECKING:
    from bridge.tracing import BridgeTracing

log = structlog.get_logger()


class Outlet:
    """Every image leaves the bridge here, once. All of it is for the pipeline's thread.

    Args:
        model: its name, as predictions say it.
        source: this bridge, as predictions say it.
        tracing: None where it is off.
        clock_ns: epoch nanoseconds.
    """

    def __init__(
        self,
        *,
        model: str,
        source: str,
        predictions_topic: str,
        dead_letters_topic: str,
        delivery: Delivery,
        assignment: Assignment[Publication],
        fuse: Fuse,
        metrics: Metrics,
        tracing: "BridgeTracing | None" = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._model = model
        self._source = source
        self._predictions_topic = predictions_topic
        self._dead_letters_topic = dead_letters_topic
        self._delivery = delivery
        self._assignment = assignment
        self._fuse = fuse
        self._metrics = metrics
        self._tracing = tracing
        self._clock_ns = clock_ns

    def answer(self, outcome: Outcome, answer: Answer) -> None:
        """Publish a batch's predictions, and dead letters where an image can have none.

        Raises:
            FuseBlownError: too many dead letters.
        """
        answered = told = 0
        predictions = []
        for work, result in zip(outcome.batch, answer.results, strict=True):
            arrival = work.arrival
            if arrival.tracker.revoked:
                self.let_go(arrival)
            elif isinstance(result, ImageError):
                # In their order: the fuse counts dead letters in a row.
                self._fuse.answered(answered - told)
                told = answered
                stage = "infer" if isinstance(result, AnswerError) else "decode"
                self.bury(arrival, stage, result.kind, str(result))
            else:
                record = self._predict(work, outcome, answer.version, result)
                predictions.append((arrival, Publication(self._predictions_topic, record)))
                answered += 1
        self._fuse.answered(answered - told)
        # All at once: Kafka's client waits half a millisecond for more of them, and each request
        # that holds few costs it and the broker as much as one that holds many.
        self._delivery.publish(predictions)
        self._metrics.answered.inc(answered)
        self._observe(outcome)

    def _predict(self, work: Work, outcome: Outcome, version: str, result: Result) -> Outgoing:
        event = work.event
        prediction = Prediction(
            id=event.id,
            model=self._model,
            version=version,
            top=result if isinstance(result, tuple) else (),
            stamps={
                "intended": event.intended_ns,
                "sent": event.sent_ns,
                "received": work.arrival.received_ns,
                "decoded": work.decoded_ns,
                "requested": outcome.requested_ns,
                "inferred": outcome.inferred_ns,
            },
            batch_size=len(outcome.batch),
            answer=None if isinstance(result, tuple) else result,
        )
        if self._tracing is not None:
            event = self._tracing.answer(work, outcome, self._predictions_topic, self._clock_ns())
        key = work.arrival.record.key()
        return encode_prediction(
            event, None if key is None else raw_bytes(key), prediction, self._source
        )

    def _observe(self, outcome: Outcome) -> None:
        observe = self._metrics.stages.observe
        batch, requested_ns, inferred_ns = (
            outcome.batch, outcome.requested_ns, outcome.inferred_ns,
        )  # fmt: skip
        observe("kafka_in", [(w.arrival.received_ns - w.event.sent_ns) / 1e9 for w in batch])
        observe("wait", [(requested_ns - w.decoded_ns) / 1e9 for w in batch])
        observe("triton", [(inferred_ns - requested_ns) / 1e9] * len(batch))
        observe("end_to_end", [(inferred_ns - w.event.intended_ns) / 1e9 for w in batch])

    def bury(
        self, arrival: Arrival, stage: str, error_class: str, message: str, attempts: int = 1
    ) -> None:
        """Set an image aside with its reason.

        Raises:
            FuseBlownError: it is one too many; this image is not published, so not committed.
        """
        record = arrival.record
        letter = DeadLetter(
            stage=stage,
            error_class=error_class,
            message=message,
            topic=arrival.tracker.topic,
            partition=arrival.tracker.partition,
            offset=arrival.offset,
            attempts=attempts,
            timestamp_ms=self._clock_ns() // 1_000_000,
        )
        # Before publishing: once the fuse blows, this image must stay uncommitted with the rest.
        self._fuse.dead(f"{stage}/{error_class}: {message[:200]}")
        self._metrics.dead.labels(stage, error_class).inc()
        log.debug(
            "dead_letter", stage=stage, reason=error_class, error=message[:200],
            partition=letter.partition, offset=letter.offset,
        )  # fmt: skip
        topic = self._dead_letters_topic
        traceparent = None
        if self._tracing is not None:
            traceparent = self._tracing.bury(arrival, letter, topic, self._clock_ns())
        dead = Publication(topic, encode_dead_letter(record, letter, traceparent))
        self._delivery.publish([(arrival, dead)])

    def let_go(self, arrival: Arrival) -> None:
        """Its partition was revoked: another bridge answers it."""
        if self._tracing is not None:
            self._tracing.let_go(arrival, self._clock_ns())
        self._assignment.finish([(arrival.tracker, arrival.offset)])
        self._metrics.dropped.inc()
