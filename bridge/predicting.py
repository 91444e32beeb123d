"""Makes the record of a prediction from what the model found in an image."""

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
from wire.answers import Detections, OtherAnswer
from wire.deadletter import INTERNAL
from wire.passing import PassedHeaders
from wire.prediction import Head, Prediction, ScoredLabel, Serializer, encode_prediction
from wire.record import ContractError, Outgoing

if TYPE_CHECKING:
    from bridge.tracing import BridgeTracing

Problem = tuple[str, str, str]
"""Stage, class and message of a dead letter."""


class Made(NamedTuple):
    """A prediction's recordand the topic that it goes to."""

    topic: str
    record: Outgoing


class Predictions:
    """Makes the record of each prediction.

    Args:
        model: the model's name, for predictions.
        source: the name of this bridge, for predictions.
        routes: decides the topic of each prediction.
        passed: names of headers that are copied from an image to its prediction.
        min_score: labels and objects with a lower score are left out; None: none are.
        tracing: None where tracing is off.
        serializer: writes predictions; None: they are JSON.
        clock_ns: returns epoch nanoseconds.
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
        self._passed = passed or None
        self._min_score = min_score
        self._tracing = tracing
        self._serializer = serializer
        self._clock_ns = clock_ns
        self._unforeseen = Unforeseen()

    def make(
        self, image: DecodedImage, outcome: EndedRequest, version: str, result: Result | ImageError
    ) -> Made | Problem:
        """An image's prediction, or why there is none; any exception is about that image alone."""
        try:
            if isinstance(result, ImageError):
                stage = "infer" if isinstance(result, AnswerError) else "decode"
                return stage, result.kind, str(result)
            for one in result if isinstance(result, tuple) else _classes(result):
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
        event, arrival = image.event, image.arrival
        top, answer, heads = _parts(result)
        record, tracker = arrival.record, arrival.tracker
        # By position, in the order of the fields: keywords would double the cost for each image.
        prediction = Prediction(
            event.id,
            self._model,
            version,
            top,
            {
                "intended": event.intended_ns,
                "sent": event.sent_ns,
                "received": arrival.received_ns,
                "decoded": image.decoded_ns,
                "requested": outcome.requested_ns,
                "inferred": outcome.inferred_ns,
            },
            len(outcome.batch),
            None,
            None,
            answer,
            heads,
            {"topic": tracker.topic, "partition": tracker.partition, "offset": record.offset()},
        )
        if self._tracing is not None:
            event = self._tracing.answer(image, outcome, topic, self._clock_ns())
        return encode_prediction(
            event,
            record.key(),
            prediction,
            self._source,
            () if self._passed is None else self._passed.of(record.headers()),
            self._serializer,
        )


def _parts(
    result: Result,
) -> tuple[tuple[ScoredLabel, ...], OtherAnswer | None, tuple[Head, ...]]:
    """The best classes, another task's answer, and the heads, as a prediction holds them."""
    if isinstance(result, tuple):
        return result, None, ()
    if isinstance(result, Heads):
        return tuple(result.heads[0]["top"] if result.heads else ()), None, result.heads
    return (), result, ()


def at_least(result: Result, score: float) -> Result:
    """An answer without the labels and objects whose score is below `score`."""
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
    """All classes that a classification names, of every head; empty for another task's answer."""
    if isinstance(result, Heads):
        return [one for head in result.heads for one in head["top"]]
    return result if isinstance(result, tuple) else ()
