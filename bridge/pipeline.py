"""Read, batch, infer, publish: the loop that every image goes through."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

import structlog

from bridge.batching import TAKEN_DOWN, Batcher
from bridge.converting import Converted
from bridge.decoders.pool import Reply
from bridge.freshness import Freshness
from bridge.guard import Unforeseen
from bridge.images import DecodedImage, EndedRequest, ReceivedRecord
from bridge.inference import Answer, Failure, Inference, InferenceError
from bridge.metrics import Metrics
from bridge.outlet import Outlet
from bridge.reading import ImageReader
from bridge.references.wanted import Fetched

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from bridge.tracing import BridgeTracing

log = structlog.get_logger()

IDLE_WAIT_S = 0.5
QUIET_S = 5.0
"""Seconds without news of Triton after which it is asked: while no image comes, nothing else would
show that it has gone, or that it has come back."""
CHECK_AGAIN_S = 1.0
"""Time between two such questions while Triton does not answer, in seconds."""

NO_MEMORY_S = 0.05
"""Pause before a request's outcome is handed over again, where there was no memory to do so, in
seconds."""


class Check(NamedTuple):
    """The result of asking Triton whether the model answers; None: it does."""

    error: InferenceError | None


Item = Sequence[ReceivedRecord] | Reply | Converted | Fetched | EndedRequest | Check | None
"""What reaches the loop from other threads; None ends it."""


class Pipeline:
    """One thread that owns the reader, the batcher and the outlet.

    Other threads talk to it only through its inbox: the intake sends records, the fetcher objects,
    the decoders and the converter pixels, the inference client outcomes.

    Args:
        model: its name, for metrics.
        max_attempts: failed requests of an image before it is dead-lettered.
        freshness: how old an image may be when it is sent.
        failed: called once, on the pipeline's thread, with the error that makes it impossible to
            go on.
        tracing: None where tracing is off.
        clock_ns: returns epoch nanoseconds, for stamps.
        monotonic: returns seconds, for waits.
    """

    def __init__(
        self,
        *,
        model: str,
        reader: ImageReader,
        inference: Inference,
        batcher: Batcher[DecodedImage],
        outlet: Outlet,
        max_attempts: int,
        metrics: Metrics,
        failed: Callable[[Exception], None],
        freshness: Freshness = Freshness(),  # noqa: B008 - it is frozen
        tracing: "BridgeTracing | None" = None,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._reader = reader
        self._inference = inference
        self._batcher = batcher
        self._outlet = outlet
        self._max_attempts = max_attempts
        self._metrics = metrics
        self._failed = failed
        self._freshness = freshness
        self._tracing = tracing
        self._clock_ns = clock_ns
        self._monotonic = monotonic
        self._unforeseen = Unforeseen()
        self._inbox: SimpleQueue[Item] = SimpleQueue()
        self._thread = Thread(target=self._run, name="pipeline", daemon=True)
        self._stopping = False
        self._checking = False
        self.beat = monotonic()
        """Monotonic seconds of the loop's last turn, for the liveness check."""
        self.problem: str | None = None
        """Why Triton does not answer; None while it does."""
        self._heard_at = monotonic()
        self._ahead_ns = 0
        """Expected time of an image in Triton in nanoseconds, as far as its age counts it."""

    @property
    def stalled(self) -> bool:
        """Whether images that wait for Triton cannot be finished now."""
        return self._batcher.stalled

    def start(self) -> None:
        """Start the loop.

        Raises:
            DecoderError: no process can be started.
        """
        self._reader.start(self._batcher.add, self._inbox.put)
        self._thread.start()

    def submit(self, arrivals: Sequence[ReceivedRecord]) -> None:
        """Hand over records that were taken from Kafka; returns at once."""
        self._inbox.put(arrivals)

    def fetched(self, fetched: Fetched) -> None:
        """Hand over the result of a fetch; returns at once."""
        self._inbox.put(fetched)

    def stop(self, timeout_s: float = 10) -> None:
        """End the loop within `timeout_s` seconds; images in flight stay unanswered and
        uncommitted."""
        self._inbox.put(None)
        self._thread.join(timeout_s)
        self._reader.close()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self.beat = self._monotonic()
                self._read_inbox()
                self._reader.read()
                self._send()
                self._check()
                if self._outlet.holding and self._nothing_else:
                    self._outlet.give_up_waiting()
                self._metrics.in_flight.set(self._batcher.in_flight)
        except Exception as error:
            self._failed(error)

    @property
    def _nothing_else(self) -> bool:
        return (
            self._inbox.empty()
            and not (self._reader.pending or self._reader.fetching)
            and self._batcher.idle
        )

    def _read_inbox(self) -> None:
        wait = 0.0 if self._reader.unread else IDLE_WAIT_S
        # After `not_before`, only an item in the inbox changes anything: without a wait the loop
        # would spin.
        if (rest := self._batcher.not_before - self._monotonic()) > 0 and not self._batcher.idle:
            wait = min(wait, rest)
        try:
            item = self._inbox.get(block=wait > 0, timeout=wait or None)
            while True:
                if item is None:
                    self._stopping = True
                elif isinstance(item, EndedRequest):
                    self._settle(item)
                elif isinstance(item, Check):
                    self._checked(item.error)
                elif isinstance(item, Reply):
                    self._reader.decoded(item)
                elif isinstance(item, Converted):
                    self._reader.converted(item)
                elif isinstance(item, Fetched):
                    self._reader.fetched(item)
                else:
                    self._reader.add(item)
                item = self._inbox.get_nowait()
        except Empty:
            pass

    def _send(self) -> None:
        if self._freshness.max_age_ns:
            # Whether or not there is a slot: images that wait while Triton is away get old, too.
            self._batcher.skip_while(self._gone)
        while (batch := self._next_batch()) is not None:
            ours = [image for image in batch if not self._gone(image)]
            if not ours:
                self._batcher.dropped()
                continue
            self._metrics.batches.observe([len(ours)], self._model)
            requested_ns = self._clock_ns()
            call, traceparent = self._begin_trace(ours, requested_ns)
            done = partial(self._done, ours, requested_ns, call)
            try:
                self._inference.infer(
                    [image.array for image in ours],
                    done,
                    traceparent,
                    [image.size for image in ours],
                )
            except MemoryError:
                done(InferenceError("RESOURCE_EXHAUSTED", "no memory to make the request"))
            except Exception as error:
                line = self._unforeseen.note("infer", error)
                done(InferenceError("INTERNAL", f"a request that cannot be made: {line}"))

    def _gone(self, image: DecodedImage) -> bool:
        """Whether a decoded image must not be sent any more; if so, it is ended here."""
        if image.arrival.tracker.revoked:
            self._outlet.drop(image.arrival)
            return True
        if not self._freshness.max_age_ns:
            return False
        # What counts is how old it is when it is answered, as far as that can be known.
        now_ns, due_ns = self._clock_ns() + self._ahead_ns, image.event.intended_ns
        if not self._freshness.overdue(due_ns, now_ns, decoded=image.size is not None):
            return False
        self._outlet.expire(image.arrival, "infer", image.event, now_ns)
        return True

    def _begin_trace(
        self, ours: Sequence[DecodedImage], requested_ns: int
    ) -> "tuple[Span, str] | tuple[None, None]":
        if (tracing := self._tracing) is None:
            return None, None
        nothing: tuple[Span, str] | tuple[None, None] = (None, None)
        return self._unforeseen.shield(
            "trace", lambda: tracing.request(ours, requested_ns), nothing
        )

    def _next_batch(self) -> Sequence[DecodedImage] | None:
        return self._batcher.next_batch(self._monotonic(), more=self._reader.pending)

    def _done(
        self,
        batch: Sequence[DecodedImage],
        requested_ns: int,
        call: "Span | None",
        result: Answer | InferenceError,
    ) -> None:
        """Take the stamp and enqueue, on a thread of the client; the loop does the rest."""
        inferred_ns = self._clock_ns()
        while True:
            try:
                self._inbox.put(EndedRequest(batch, requested_ns, inferred_ns, result, call))
                return
            except MemoryError:  # otherwise the slot and its images would never be free again
                time.sleep(NO_MEMORY_S)

    def _check(self) -> None:
        now = self._monotonic()
        quiet = now - self._heard_at >= (QUIET_S if self.problem is None else CHECK_AGAIN_S)
        if not self._checking and (quiet or self._batcher.wants_check(now)):
            self._checking = True
            self._inference.check(lambda error: self._inbox.put(Check(error)))

    def _checked(self, error: InferenceError | None) -> None:
        self._checking = False
        self._heard_at = now = self._monotonic()
        self._batcher.checked(now, well=error is None)
        self._dead_letter_culprits()
        if error is not None:
            for image in self._batcher.discard(lambda one: one.arrival.tracker.revoked):
                self._outlet.drop(image.arrival)
            if self.problem is None:
                log.warning("triton_unavailable", status=error.status, error=str(error)[:300])
            self.problem = _not_answering(error)
        elif self._batcher.idle or not self._batcher.backing_off:
            # Otherwise the waiting images show the problem: a model can be ready and fail on each.
            self.problem = None

    def _dead_letter_culprits(self) -> None:
        for image, error, times in self._batcher.take_culprits():
            if image.arrival.tracker.revoked:
                self._outlet.drop(image.arrival)
                continue
            message = (
                f"Triton went away {times} times when it had this image, and answered others after "
                f"it; the last time: {error}"
                if error.status in TAKEN_DOWN
                else f"Triton would not answer this image, {times} times, and answered others "
                f"after it; the last time: {error}"
            )
            log.warning("image_takes_triton_down", status=error.status, requests=times)
            self._outlet.dead_letter(image.arrival, "infer", error.status, message, attempts=times)

    def _settle(self, outcome: EndedRequest) -> None:
        if (tracing := self._tracing) is not None:
            self._unforeseen.shield("trace", lambda: tracing.respond(outcome), None)
        self._heard_at = self._monotonic()
        error = outcome.result
        if isinstance(error, Answer):
            rows, images = len(error.results), len(outcome.batch)
            if rows == images:
                self.problem = None
                self._ahead_ns = self._freshness.ahead(outcome.inferred_ns - outcome.requested_ns)
                self._metrics.requests.labels("ok").inc()
                self._batcher.succeeded(in_parts=error.in_parts)
                self._outlet.answer(outcome, error)
                self._dead_letter_culprits()
                return
            # It is unknown which row belongs to which image.
            error = InferenceError("INTERNAL", f"an answer of {rows} rows for {images} images")
        self._metrics.requests.labels(error.failure.value).inc()
        batch = outcome.batch
        if error.failure is Failure.INTERNAL:
            for image in batch:
                image.attempts += 1
        exhausted = max(image.attempts for image in batch) >= self._max_attempts
        if error.failure is Failure.INVALID or (error.failure is Failure.INTERNAL and exhausted):
            if len(batch) > 1:
                log.warning("batch_split", status=error.status, images=len(batch))
                self._metrics.retries.labels(error.status).inc(len(batch))
                self._batcher.refused(batch)
                self.problem = None
                self._dead_letter_culprits()
                return
            self._batcher.succeeded()
            self.problem = None
            self._dead_letter_culprits()
            image = batch[0]
            self._outlet.dead_letter(
                image.arrival, "infer", error.status, str(error), attempts=max(1, image.attempts)
            )
            return
        wait = self._batcher.unavailable(batch, self._monotonic(), error)
        self.problem = _not_answering(error)
        self._metrics.retries.labels(error.status).inc(len(batch))
        log.warning(
            "model_failed" if error.failure is Failure.INTERNAL else "triton_unavailable",
            status=error.status, error=str(error)[:300], images=len(batch),
            retry_in_s=round(wait, 3),
        )  # fmt: skip


def _not_answering(error: InferenceError) -> str:
    what = "the model fails" if error.failure is Failure.INTERNAL else "not answering"
    return f"{what}: {error.status}: {' '.join(str(error).split())[:300]}"
