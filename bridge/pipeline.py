"""Read, decode, batch, infer, publish: the loop that every image goes through."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

import structlog

from bridge.assignment import Assignment
from bridge.batching import Batcher
from bridge.deadletter import Fuse
from bridge.decoder import Decoded, Job, Setup
from bridge.decoding import Decoders, Reply
from bridge.delivery import Delivery
from bridge.images import ImageError, Pixels, needs_decoder, to_input
from bridge.metrics import Metrics
from bridge.model import ModelSpec
from bridge.triton import Answer, Failure, Inference, InferenceError
from bridge.work import Arrival, Outcome, Publication, Work
from wire.deadletter import DeadLetter, encode_dead_letter
from wire.image import ImageEvent, decode_image
from wire.prediction import Prediction, encode_prediction
from wire.record import ContractError, raw_bytes

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from bridge.tracing import BridgeTracing

log = structlog.get_logger()

READ_SLICE_NS = 2_000_000
"""Reading what arrived yields this often, so that a free slot or an answer never waits for a pile
of images."""
IDLE_WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What the loop needs to know; sizes in bytes, times in seconds."""

    predictions_topic: str
    dead_letters_topic: str
    source: str
    max_image_bytes: int
    max_pixels: int
    max_attempts: int
    decoders: int


@dataclass(frozen=True, slots=True)
class _Encoded:
    """An image on its way to a decoder."""

    arrival: Arrival
    event: ImageEvent
    job: Job


class Pipeline:
    """One thread that owns the decoders, the batcher and the fuse.

    Others talk to it through its inbox alone: the intake with arrivals, the decoders with pixels,
    the inference client with outcomes.

    Args:
        failed: called once, on the pipeline's thread, with what makes it impossible to go on.
        tracing: None where it is off.
        clock_ns: epoch nanoseconds, for stamps.
        monotonic: seconds, for waits.
    """

    def __init__(
        self,
        *,
        settings: PipelineSettings,
        spec: ModelSpec,
        inference: Inference,
        batcher: Batcher[Work],
        delivery: Delivery,
        assignment: Assignment[Publication],
        fuse: Fuse,
        metrics: Metrics,
        failed: Callable[[Exception], None],
        tracing: "BridgeTracing | None" = None,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._spec = spec
        self._inference = inference
        self._batcher = batcher
        self._delivery = delivery
        self._assignment = assignment
        self._fuse = fuse
        self._metrics = metrics
        self._failed = failed
        self._tracing = tracing
        self._clock_ns = clock_ns
        self._monotonic = monotonic
        self._inbox: SimpleQueue[Sequence[Arrival] | Reply | Outcome | None] = SimpleQueue()
        self._unread: deque[Arrival] = deque()
        self._decoders: Decoders[_Encoded] = Decoders(
            settings.decoders if spec.shape is not None else 0,
            Setup(spec, settings.max_image_bytes, settings.max_pixels),
            self._inbox.put,
        )
        self._thread = Thread(target=self._run, name="pipeline", daemon=True)
        self._stopping = False
        self.beat = monotonic()
        """Monotonic seconds of the loop's last turn: what liveness looks at."""

    @property
    def healthy(self) -> bool:
        """False from a transient failure of Triton until its next answer."""
        return not self._batcher.backing_off

    def start(self) -> None:
        """Start the loop.

        Raises:
            DecoderError: no process can be started.
        """
        self._decoders.start()
        self._thread.start()

    def submit(self, arrivals: Sequence[Arrival]) -> None:
        """Hand over records that were taken in hand; returns at once."""
        self._inbox.put(arrivals)

    def stop(self, timeout_s: float = 10) -> None:
        """End the loop; what is still in hand is left unanswered, and so uncommitted."""
        self._inbox.put(None)
        self._thread.join(timeout_s)
        self._decoders.close()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self.beat = self._monotonic()
                self._read_inbox()
                self._read_some()
                self._decoders.feed()
                self._send()
                self._metrics.in_flight.set(self._batcher.in_flight)
        except Exception as error:
            self._failed(error)

    def _read_inbox(self) -> None:
        wait = 0.0 if self._unread else IDLE_WAIT_S
        if self._batcher.waiting and self._batcher.not_before:
            wait = min(wait, max(0.0, self._batcher.not_before - self._monotonic()))
        try:
            item = self._inbox.get(block=wait > 0, timeout=wait or None)
            while True:
                if item is None:
                    self._stopping = True
                elif isinstance(item, Outcome):
                    self._settle(item)
                elif isinstance(item, Reply):
                    self._decoded(item)
                else:
                    self._unread.extend(item)
                item = self._inbox.get_nowait()
        except Empty:
            pass

    def _read_some(self) -> None:
        """Read envelopes; images that need decoding go to the decoders, others are ready."""
        deadline = self._clock_ns() + READ_SLICE_NS
        while self._unread:
            arrival = self._unread.popleft()
            if arrival.tracker.revoked:
                self._let_go(arrival)
                continue
            try:
                event = decode_image(arrival.record)
            except ContractError as error:
                if self._tracing is not None:
                    self._tracing.begin(arrival, None)
                self._bury(arrival, "contract", "contract", str(error), attempts=1)
                continue
            if self._tracing is not None:
                self._tracing.begin(arrival, event)
            if needs_decoder(event, self._spec):
                job = Job(event.content_type, raw_bytes(arrival.record.value()))
                self._decoders.add(_Encoded(arrival, event, job))
            else:
                self._ready(arrival, event, self._as_it_is(arrival, event))
            if self._clock_ns() > deadline:
                break

    def _as_it_is(self, arrival: Arrival, event: ImageEvent) -> Pixels | bytes | ImageError:
        try:
            return to_input(
                event,
                raw_bytes(arrival.record.value()),
                self._spec,
                max_bytes=self._settings.max_image_bytes,
                max_pixels=self._settings.max_pixels,
            )
        except ImageError as error:
            return error

    def _decoded(self, reply: Reply) -> None:
        for encoded, result in self._decoders.take(reply):
            if encoded.arrival.tracker.revoked:
                self._let_go(encoded.arrival)
            else:
                self._ready(encoded.arrival, encoded.event, result)
        if isinstance(reply.result, Decoded):
            self._metrics.stages.observe("decode", reply.result.seconds)

    def _ready(
        self, arrival: Arrival, event: ImageEvent, result: Pixels | bytes | ImageError
    ) -> None:
        if isinstance(result, ImageError):
            self._bury(arrival, "decode", result.kind, str(result), attempts=1)
        else:
            self._batcher.add(Work(arrival, event, result, self._clock_ns()))

    def _send(self) -> None:
        while (batch := self._next_batch()) is not None:
            ours = [work for work in batch if not work.arrival.tracker.revoked]
            for work in batch:
                if work.arrival.tracker.revoked:
                    self._let_go(work.arrival)
            if not ours:
                self._batcher.dropped()
                continue
            self._metrics.batches.observe(self._spec.name, [len(ours)])
            requested_ns = self._clock_ns()
            call = traceparent = None
            if self._tracing is not None:
                call, traceparent = self._tracing.request(ours, requested_ns)
            done = partial(self._done, ours, requested_ns, call)
            self._inference.infer([work.pixels for work in ours], done, traceparent)

    def _next_batch(self) -> Sequence[Work] | None:
        more = bool(self._unread or self._decoders.pending)
        return self._batcher.next_batch(self._monotonic(), more=more)

    def _done(
        self,
        batch: Sequence[Work],
        requested_ns: int,
        call: "Span | None",
        result: Answer | InferenceError,
    ) -> None:
        """On a thread of the client's: the stamp is taken here, the rest is the loop's."""
        self._inbox.put(Outcome(batch, requested_ns, self._clock_ns(), result, call))

    def _settle(self, outcome: Outcome) -> None:
        if self._tracing is not None:
            self._tracing.respond(outcome)
        if isinstance(outcome.result, Answer):
            self._metrics.requests.labels("ok").inc()
            self._batcher.succeeded()
            self._answer(outcome, outcome.result)
            return
        error = outcome.result
        self._metrics.requests.labels(error.failure.value).inc()
        batch = outcome.batch
        if error.failure is Failure.INTERNAL:
            for work in batch:
                work.attempts += 1
        exhausted = max(work.attempts for work in batch) >= self._settings.max_attempts
        if error.failure is Failure.INVALID or (error.failure is Failure.INTERNAL and exhausted):
            if len(batch) > 1:
                log.warning("batch_split", status=error.status, images=len(batch))
                self._metrics.retries.labels(error.status).inc(len(batch))
                self._batcher.refused(batch)
                return
            self._batcher.succeeded()
            work = batch[0]
            self._bury(
                work.arrival, "infer", error.status, str(error), attempts=max(1, work.attempts)
            )
            return
        wait = self._batcher.unavailable(batch, self._monotonic())
        self._metrics.retries.labels(error.status).inc(len(batch))
        log.warning(
            "triton_unavailable", status=error.status, error=str(error)[:300], images=len(batch),
            retry_in_s=round(wait, 3),
        )  # fmt: skip

    def _answer(self, outcome: Outcome, answer: Answer) -> None:
        answered = told = 0
        for work, top in zip(outcome.batch, answer.tops, strict=True):
            arrival = work.arrival
            if arrival.tracker.revoked:
                self._let_go(arrival)
                continue
            if isinstance(top, ImageError):
                # In their order: the fuse counts dead letters in a row.
                self._fuse.answered(answered - told)
                told = answered
                self._bury(arrival, "decode", top.kind, str(top), attempts=1)
                continue
            prediction = Prediction(
                id=work.event.id,
                model=self._spec.name,
                version=answer.version,
                top=top,
                stamps={
                    "intended": work.event.intended_ns,
                    "sent": work.event.sent_ns,
                    "received": arrival.received_ns,
                    "decoded": work.decoded_ns,
                    "requested": outcome.requested_ns,
                    "inferred": outcome.inferred_ns,
                },
                batch_size=len(outcome.batch),
            )
            event = work.event
            if self._tracing is not None:
                event = self._tracing.answer(
                    work, outcome, self._settings.predictions_topic, self._clock_ns()
                )
            key = arrival.record.key()
            record = encode_prediction(
                event,
                None if key is None else raw_bytes(key),
                prediction,
                self._settings.source,
            )
            self._delivery.publish(arrival, Publication(self._settings.predictions_topic, record))
            answered += 1
        self._fuse.answered(answered - told)
        self._metrics.answered.inc(answered)
        self._observe(outcome)

    def _observe(self, outcome: Outcome) -> None:
        observe = self._metrics.stages.observe
        batch, requested_ns, inferred_ns = (
            outcome.batch, outcome.requested_ns, outcome.inferred_ns,
        )  # fmt: skip
        observe("kafka_in", [(w.arrival.received_ns - w.event.sent_ns) / 1e9 for w in batch])
        observe("wait", [(requested_ns - w.decoded_ns) / 1e9 for w in batch])
        observe("triton", [(inferred_ns - requested_ns) / 1e9] * len(batch))
        observe("end_to_end", [(inferred_ns - w.event.intended_ns) / 1e9 for w in batch])

    def _bury(
        self, arrival: Arrival, stage: str, error_class: str, message: str, attempts: int
    ) -> None:
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
        topic = self._settings.dead_letters_topic
        traceparent = None
        if self._tracing is not None:
            traceparent = self._tracing.bury(arrival, letter, topic, self._clock_ns())
        self._delivery.publish(
            arrival, Publication(topic, encode_dead_letter(record, letter, traceparent))
        )

    def _let_go(self, arrival: Arrival) -> None:
        if self._tracing is not None:
            self._tracing.let_go(arrival, self._clock_ns())
        self._assignment.finish(arrival.tracker, arrival.offset)
        self._metrics.dropped.inc()
