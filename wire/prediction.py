"""The record of a prediction."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple, Protocol, TypedDict

import orjson

from wire.answers import OtherAnswer, read_answer
from wire.clock import bounded_time, format_time
from wire.image import MAX_ID, ImageEvent
from wire.record import (
    ContractError,
    Headers,
    KafkaRecord,
    Outgoing,
    first_headers,
    raw_bytes,
)
from wire.trace import TRACEPARENT, read_traceparent

CLASSIFICATION_TYPE = "triton-kafka-bridge.prediction.v1"
"""CloudEvents type of a classification. Version 1 of the contract had no other type, and its
readers can still read this one."""
PREDICTION_TYPE = "triton-kafka-bridge.prediction.v2"
"""CloudEvents type of a prediction of any task; `task` says which, and so which fields it has."""
_TYPES = (CLASSIFICATION_TYPE, PREDICTION_TYPE)
MAX_PREDICTION = 1 << 20
"""Most bytes of a prediction that a reader accepts."""

JSON = b"application/json"
"""Content type of a prediction, unless a serializer uses another."""

STAMPS = ("intended", "sent", "received", "decoded", "requested", "inferred")
"""Names of the stamps, in the order in which they happen (epoch nanoseconds)."""


class ScoredLabel(TypedDict):
    """One class of an answer, as JSON holds it."""

    label: str
    class_id: int
    score: float


class Head(TypedDict):
    """The best classes of one output of a model that has several, as JSON holds it."""

    output: str
    top: Sequence[ScoredLabel]


class ImageRecord(TypedDict):
    """Where an image is on its topic."""

    topic: str
    partition: int
    offset: int


class Prediction(NamedTuple):
    """One answered image.

    Attributes:
        top: the k best classes, best first; scores are finite.
        stamps: epoch nanoseconds of each of `STAMPS`, 0 to `LATEST_NS`.
        batch_size: images in the request that carried this one to Triton.
        answer: the answer of another task than classification; None: it is `top`.
        heads: for a classifier with several outputs, each of them; `top` is that of the first.
        record: where the image is; None: an older bridge did not say so.
    """

    id: str
    model: str
    version: str
    top: tuple[ScoredLabel, ...]
    stamps: dict[str, int]
    batch_size: int
    run_id: str | None = None
    traceparent: str | None = None
    answer: OtherAnswer | None = None
    heads: tuple[Head, ...] = ()
    record: ImageRecord | None = None

    @property
    def task(self) -> str:
        """One of `wire.answers.TASKS`."""
        return "classify" if self.answer is None else self.answer.task


class Serializer(Protocol):
    """Writes the body of a prediction in another format than JSON."""

    @property
    def content_type(self) -> bytes: ...

    def __call__(self, body: dict[str, Any], /) -> bytes: ...


def encode_prediction(
    image: ImageEvent,
    key: bytes | None,
    prediction: Prediction,
    source: str,
    passed: Headers = (),
    serializer: Serializer | None = None,
) -> Outgoing:
    """Build the record of the answer to `image`; it keeps the key, run id and traceparent.

    Args:
        passed: headers of the image that are copied to its prediction.
        serializer: writes the body; None: it is JSON.

    Raises:
        ContractError: the prediction would be larger than readers accept.
    """
    answer = prediction.answer
    # Each is written out: most predictions are classifications, and this builds nothing for them.
    body: dict[str, Any]
    if answer is None:
        body = {
            "id": prediction.id,
            "model": prediction.model,
            "version": prediction.version,
            "task": "classify",
            "top": prediction.top,
            "batch_size": prediction.batch_size,
            "stamps_ns": prediction.stamps,
        }
        if prediction.heads:
            body["heads"] = prediction.heads
    else:
        body = {
            "id": prediction.id,
            "model": prediction.model,
            "version": prediction.version,
            "task": answer.task,
            **answer.fields(),
            "batch_size": prediction.batch_size,
            "stamps_ns": prediction.stamps,
        }
    if prediction.record is not None:
        body["record"] = prediction.record
    if serializer is None:
        value, content_type = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), JSON
    else:
        value, content_type = serializer(body), serializer.content_type
    if len(value) > MAX_PREDICTION:
        raise ContractError(
            f"its prediction has {len(value):,} bytes, {MAX_PREDICTION:,} are allowed: ask for "
            "less (--top-k, postprocess.max_detections, .outputs, .encoding), or give "
            "shorter labels"
        )
    kind = CLASSIFICATION_TYPE if answer is None else PREDICTION_TYPE
    headers = [
        *_shared_headers(source, prediction.stamps["inferred"], kind, content_type),
        ("ce_id", image.id.encode()),
    ]
    if image.run_id is not None:
        headers.append(("ce_runid", image.run_id.encode()))
    if image.traceparent is not None:
        headers.append((TRACEPARENT, image.traceparent.encode()))
    headers += passed
    return Outgoing(key, value, headers)


@lru_cache(64)
def _shared_headers(
    source: str, inferred_ns: int, kind: str, content_type: bytes
) -> tuple[tuple[str, bytes | None], ...]:
    """The headers that the predictions of a batch have in common."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", source.encode()),
        ("ce_type", kind.encode()),
        ("ce_time", format_time(inferred_ns).encode()),
        ("content-type", content_type),
    )


def decode_prediction(
    record: KafkaRecord, deserialize: Callable[[bytes], dict[str, Any]] = orjson.loads
) -> Prediction:
    """Read a prediction.

    Args:
        deserialize: makes the body from the value; raises ContractError or ValueError.

    Raises:
        ContractError: the record is no prediction of a known version.
    """
    value = raw_bytes(record.value())
    if len(value) > MAX_PREDICTION:
        raise ContractError(f"a prediction of {len(value)} bytes, {MAX_PREDICTION} are allowed")
    headers = first_headers(record.headers())
    kind = headers.get("ce_type", b"").decode(errors="replace")
    if kind not in _TYPES:
        raise ContractError(f"ce_type is {kind[:80]!r}, expected one of {', '.join(_TYPES)}")
    try:
        body = deserialize(value)
        answer = read_answer(str(body.get("task", "classify")), body)
        top = _read_top(body["top"]) if answer is None else ()
        heads = tuple(
            Head(output=str(one["output"]), top=_read_top(one["top"]))
            for one in (body.get("heads", ()) if answer is None else ())
        )
        stamps = {str(name): bounded_time(int(ns)) for name, ns in body["stamps_ns"].items()}
        missing = [name for name in STAMPS if name not in stamps]
        if missing:
            raise ContractError(f"a prediction lacks the stamps {', '.join(missing)}")
        return Prediction(
            id=str(body["id"])[:MAX_ID],
            model=str(body["model"]),
            version=str(body["version"]),
            top=top,
            stamps=stamps,
            batch_size=int(body["batch_size"]),
            run_id=_text(headers.get("ce_runid")),
            traceparent=read_traceparent(headers.get(TRACEPARENT)),
            answer=answer,
            heads=heads,
            record=_record(body.get("record")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, ContractError):
            raise
        raise ContractError(f"not a prediction: {type(error).__name__}: {error}") from None


def _read_top(found: Any) -> tuple[ScoredLabel, ...]:
    top = tuple(
        ScoredLabel(
            label=str(item["label"]), class_id=int(item["class_id"]), score=float(item["score"])
        )
        for item in found
    )
    if not all(isfinite(one["score"]) for one in top):
        raise ContractError("a prediction with a score that is not a finite number")
    return top


def _record(body: Any) -> ImageRecord | None:
    if body is None:
        return None
    return ImageRecord(
        topic=str(body["topic"]), partition=int(body["partition"]), offset=int(body["offset"])
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode(errors="replace")
