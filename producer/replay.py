"""One run of the producer: sends on schedule, flushes, reads outcomes, accounts for every image."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.progress import LiveLine
from cli.signals import StopSignal
from producer.encoding import EncodedImage
from producer.listener import Listener
from producer.naming import Names
from producer.pacing import SECOND, Schedule, Timer, paced
from producer.report import Report
from producer.sender import Sender, SendError
from producer.sources import SourceError
from wire.image import encode_image

if TYPE_CHECKING:
    from producer.tracing import ProducerTracing


@dataclass(frozen=True)
class Replay:
    """One replay of `images`; `execute` sends, flushes, reads outcomes and accounts for all."""

    images: Sequence[EncodedImage]
    source: str
    run_id: str
    schedule: Schedule
    flush_timeout: float
    listen_timeout: float
    stop: StopSignal
    names: Names
    tracing: "ProducerTracing | None" = None

    def execute(self, sender: Sender, listener: Listener | None) -> Report:
        trouble: str | None = None
        max_lag = 0
        timer = Timer()
        with LiveLine(self.schedule.count, "sending") as live:

            def show(activity: str) -> None:
                if not live.due():
                    return
                sent, of = sender.handed_over, self.schedule.count
                text = f"{activity}: {sent:,}{'' if of is None else f' of {of:,}'} sent, "
                text += f"{{rate}} images/s, {sender.acknowledged:,} acknowledged"
                if listener is not None:
                    text += f", {listener.tally().resolved:,} resolved"
                live.show(text, counted=sent, completed=sent)

            def serve(seconds: float) -> None:
                sender.serve(seconds)
                show("sending")

            def wait(due: int) -> bool:
                return timer.wait(due, serve, self.stop.once)

            try:
                for index, due in paced(self.schedule, timer.elapsed, wait):
                    max_lag = max(max_lag, timer.elapsed() - due)
                    self._send(sender, index, timer.start_wall_ns + due)
            except (SendError, SourceError) as error:
                trouble = str(error)
            seconds = timer.elapsed() / SECOND
            show("flushing")
            sender.flush(self.flush_timeout, self.stop.twice)
            sender.close()
            if listener is not None:
                trouble = self._await_results(sender, listener, show) or trouble
        return Report(
            run_id=self.run_id,
            sent=sender.handed_over,
            acknowledged=sender.acknowledged,
            unacknowledged=sender.failed,
            seconds=seconds,
            max_lag_s=max_lag / SECOND,
            tally=None if listener is None else listener.tally(),
            trouble=trouble,
        )

    def _send(self, sender: Sender, index: int, intended_ns: int) -> None:
        image = self.images[index % len(self.images)]
        # Rate 0 intends to send now: two readings of the clock must not put that into the future.
        sent_ns = time.time_ns()
        intended_ns = intended_ns if self.schedule.rate else sent_ns
        name = self.names.id(index)
        span = traceparent = None
        if self.tracing is not None:
            span, traceparent = self.tracing.begin(name, intended_ns)
        record = encode_image(
            id=name,
            value=image.value if image.url is None else None,
            dataref=image.url,
            content_type=image.content_type,
            source=f"/producer/{self.source}",
            intended_ns=intended_ns,
            sent_ns=sent_ns,
            run_id=self.run_id,
            label=image.label,
            dtype=image.dtype,
            shape=image.shape,
            traceparent=traceparent,
        )
        sender.send(record, self.stop.once)
        if span is not None:
            span.end()

    def _await_results(
        self, sender: Sender, listener: Listener, show: Callable[[str], None]
    ) -> str | None:
        deadline = time.monotonic() + self.listen_timeout
        resolved = listener.tally().resolved
        while resolved < sender.acknowledged and time.monotonic() < deadline:
            if self.stop.twice() or listener.failure():
                break
            show("listening")
            if listener.wait_for_more(resolved, 0.1):
                resolved = listener.tally().resolved
                deadline = time.monotonic() + self.listen_timeout
        failure = listener.failure()
        return None if failure is None else f"no longer listening: {failure}"
