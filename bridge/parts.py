"""The parts of a running bridge: started together, ended together, and checked for health."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.batching import Batcher
from bridge.images import DecodedImage, Publication
from bridge.kafka.assignment import Assignment
from bridge.kafka.delivery import Delivery
from bridge.kafka.intake import Intake
from bridge.kafka.watch import Watch
from bridge.pipeline import Pipeline
from bridge.room import Room
from bridge.triton.pool import Pool

if TYPE_CHECKING:
    from bridge.references.fetcher import Fetcher

STUCK_S = 60.0
"""Seconds without a turn after which a loop is stuck: its longest wait is under a second, and its
calls on Kafka's client are bounded well below this."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything between Kafka and Triton, for one model.

    Attributes:
        fetcher: None where no image may be fetched from object storage.
        room: returns the bounds on what is in flight, from the number of requests that Triton
            takes at a time.
    """

    assignment: Assignment[Publication]
    watch: Watch
    delivery: Delivery
    fetcher: "Fetcher | None"
    batcher: Batcher[DecodedImage]
    pipeline: Pipeline
    intake: Intake
    room: Callable[[int], Room]

    def start(self, pool: Pool) -> None:
        """Start everything; images are taken from now on.

        Raises:
            DecoderError: no process can be started.
        """

        def resized(slots: int) -> None:
            self.batcher.max_inflight = slots
            room = self.room(slots)
            self.intake.resize(room)
            if self.fetcher is not None:
                self.fetcher.resize(room.size)

        def parked(batches: int) -> None:
            self.batcher.parked = batches

        pool.on_resize(resized)
        pool.on_park(parked)
        self.delivery.start()
        self.pipeline.start()
        if self.fetcher is not None:
            self.fetcher.start(self.pipeline.fetched)
        self.intake.start()

    def end(self, *, clean: bool) -> None:
        """End the parts behind the intake, which has ended; `clean`: nothing was left undone."""
        self.pipeline.stop()
        if self.fetcher is not None:
            self.fetcher.stop()
        self.delivery.close(flush=clean)
        self.assignment.close()

    def stuck(self) -> dict[str, str]:
        """The loops that do not turn any more, each with the reason."""
        now = time.monotonic()
        beats = {"intake": self.intake.beat, "pipeline": self.pipeline.beat}
        return {
            name: f"no turn of its loop for {now - beat:.0f} s"
            for name, beat in beats.items()
            if now - beat > STUCK_S
        }

    def problems(self, request_timeout_s: float) -> dict[str, str]:
        """The reasons why images are not answered now, by part; empty when they are answered."""
        reasons = {
            "triton": self.pipeline.problem,
            "object_storage": None if self.fetcher is None else self.fetcher.problem,
            "kafka": self.watch.problem,
            "transactions": self.delivery.problem,
            "progress": self._no_progress(request_timeout_s),
        }
        return {part: why for part, why in reasons.items() if why is not None}

    def _no_progress(self, request_timeout_s: float) -> str | None:
        limit_s = max(STUCK_S, 2 * request_timeout_s)
        quiet_s = time.monotonic() - self.assignment.progress_at
        if self.assignment.images and quiet_s > limit_s:
            return f"images are in flight and none was finished for {quiet_s:.0f} s"
        return None
