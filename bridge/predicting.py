"""What the model said of an image, made into the record of its prediction."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from bridge.guard import Unforeseen
from bridge.images import DecodedImage, EndedRequest
from bridge.routing import Routes
from bridge.tasks.task import AnswerError, Heads, Result
from imaging.rules import ImageError
from wire.answers import Detections
from wire.deadletter import INTERNAL
from wire.passing import PassedHeaders
from wire.prediction import Head, Prediction, ScoredLabel, Serializer, encode_prediction
from wire.record import ContractError, Outgoing, raw_bytes

if TYPE_CHECKING:
    from bridge.tracing import BridgeTracing

Problem = tuple[str, str, str]
"""Stage, class and message of a dead letter."""


class Made(NamedTuple):
    """A prediction's record, and the topic that it goes to."""

    topic: str
    record: Outgoing


class Predictions:
    """Makes the record of each prediction.

    Args:
        model: its name, as predictions say it.
        source: this bridge, as predictions say it.
        routes: where predictions go.
        passed: headers of an image that its prediction gets.
        min_score: labels and objects below it are not listed; None: all are.
        tracing: None where it is off.
        serializer: of predictions; None: JSON.
        clock_ns: epoch nanoseconds.
    """

    def __init__(
        self,
        *,
        model: str,
        source: str,
        routes: Routes,
        passed: PassedHeaders | None = None,
        min_score: float | None = None,
        tracing: "BridgeTracing | None" = None,
        serializer: Serializer | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._model = model
        self._source = source
        self._routes = routes
        self._passed = passed or PassedHeaders(())
        self._min_score = min_score
        self._tracing = tracing
        self._serializer = serializer
        self._clock_ns = clock_ns
        self._unforeseen = Unforeseen()

    def make(
        self, image: DecodedImage, outcome: EndedRequest, version: str, result: Result | ImageError
    ) -> Made | Problem:
        """An image's prediction, or why there is none; whatever is raised is about that image."""
        try:
            if isinstance(result, ImageError):
                stage = "infer" if isinstance(result, AnswerError) else "decode"
                return stage, result.kind, str(result)
            for one in _classes(result):
                if not isfinite(one["score"]):
                    return "infer", "not_finite", f"the model's score is {one['score']}"
            if self._min_score is not None:
                result = at_least(result, self._min_score)
            topic = self._routes.topic(result, image.arrival.record.headers())
            record = self._encode(image, outcome, version, result, topic)
        except ContractError as error:
            return "publish", "too_large", str(error)
        except Exception as error:
            return "publish", INTERNAL, self._unforeseen.note("publish", error)
        return Made(topic, record)

    def _encode(
        self, image: DecodedImage, outcome: EndedRequest, version: str, result: Result, topic: str
    ) -> Outgoing:
        event, tracker = image.event, image.arrival.tracker
        heads = result.heads if isinstance(result, Heads) else ()
        prediction = Prediction(
            id=event.id,
            model=self._model,
            version=version,
            top=result if isinstance(result, tuple) else tuple(heads[0]["top"] if heads else ()),
            stamps={
                "intended": event.intended_ns,
                "sent": event.sent_ns,
                "received": image.arrival.received_ns,
                "decoded": image.decoded_ns,
                "requested": outcome.requested_ns,
                "inferred": outcome.inferred_ns,
            },
            batch_size=len(outcome.batch),
            answer=None if isinstance(result, tuple | Heads) else result,
            heads=heads,
            record={
                "topic": tracker.topic,
                "partition": tracker.partition,
                "offset": image.arrival.record.offset(),
            },
        )
        if self._tracing is not None:
            event = self._tracing.answer(image, outcome, topic, self._clock_ns())
        record = image.arrival.record
        key = record.key()
        return encode_prediction(
            event,
            None if key is None else raw_bytes(key),
            prediction,
            self._source,
            self._passed.of(record.headers()),
            self._serializer,
        )


def at_least(result: Result, score: float) -> Result:
    """An answer without the labels or the objects that are less sure than this."""
    if isinstance(result, tuple):
        return tuple(one for one in result if one["score"] >= score)
    if isinstance(result, Heads):
        return Heads(
            tuple(
                Head(
                    output=head["output"],
                    top=[one for one in head["top"] if one["score"] >= score],
                )
                for head in result.heads
            )
        )
    if isinstance(result, Detections):
        return replace(result, found=tuple(one for one in result.found if one["score"] >= score))
    return result


def _classes(result: Result) -> Sequence[ScoredLabel]:
    """Of a classification, all classes that it tells of."""
    if isinstance(result, Heads):
        return [one for head in result.heads for one in head["top"]]
    return result if isinstance(result, tuple) else ()
