"""Several Triton servers behind the protocol of one: each batch goes to the least busy server.

The batches of a server that failed go to the others. A batch that the server may have gone down
with goes to only one of them, and alone (`bridge/triton/trials.py`). `done` is called once for each
batch, with the first answer.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from queue import SimpleQueue

import structlog

from bridge.batching import TAKEN_DOWN
from bridge.inference import Answer, Checked, Done, Failure, InferenceError
from bridge.metrics import Metrics
from bridge.triton.addresses import Address, Addresses
from bridge.triton.member import Call, Member, Server
from bridge.triton.servers import Limits, Servers
from bridge.triton.trials import Suspect, Trials
from imaging.rules import Input, Size

log = structlog.get_logger()


class Pool(Servers):
    """The batches of several Triton servers with one model. Its arguments are those of
    `Servers`."""

    def __init__(
        self,
        addresses: Addresses,
        connect: Callable[[Address], Server],
        *,
        metrics: Metrics,
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(addresses, connect, metrics=metrics, limits=limits, clock=clock)
        self.waiting: SimpleQueue[Call | None] = SimpleQueue()
        """Batches that need another server; None ends the thread that moves them."""
        self._trials = Trials(clock, limits.max_attempts)
        self._held: list[Call] = []
        """Batches for the server on which another one is tried, while there is no other server."""
        self._numbers = count()
        self._parked: Callable[[int], None] = lambda _batches: None

    def on_park(self, parked: Callable[[int], None]) -> None:
        """Have `parked` called with the number of batches that wait, with no server, to be tried
        alone."""
        with self._lock:
            self._parked = parked

    def infer(
        self,
        images: Sequence[Input],
        done: Done,
        traceparent: str | None = None,
        sizes: Sequence[Size | None] = (),
    ) -> None:
        self.forward(Call(images, done, traceparent, sizes))

    def check(self, done: Checked) -> None:
        """Report what is known: each server is asked once a second anyway."""
        with self._lock:
            well = self._balance.slots > 0
        done(None if well else InferenceError("UNAVAILABLE", self._why_none()))

    def forward(self, call: Call) -> None:
        """Send a batch to the best server that has not had it; if there is none, it has failed.

        Raises:
            Exception: no request can be made from the batch.
        """
        with self._lock:
            name = self._server_for(call)
            if name is None and (call.server is not None or self._hold(call)):
                return
            if name is not None:
                member, number = self.members[name], next(self._numbers)
                epoch = member.epoch
                call.tried.add(name)
                member.calls[number] = call
                self._balance.sent(name)
                self._metrics.server_in_flight.labels(name).set(self._balance.in_flight(name))
        if name is None:
            call.done(call.error or InferenceError("UNAVAILABLE", self._why_none()))
            return
        try:
            call.send(member.server, partial(self._answered, call, member, number, epoch))
        except Exception:
            with self._lock:
                if member.calls.pop(number, None) is not None:
                    self._ended(member, Failure.INVALID.value)
                self._trials.end(call)
                self._try()
            raise

    def _server_for(self, call: Call) -> str | None:
        if self._closed:
            return None
        if call.server is None:
            return self._balance.choose(call.tried)
        if call.server in self._balance.all_well:
            return call.server
        one = self._trials.end(call)
        if one is not None:
            self._trials.again(one)
            self._try()
        return None

    def _hold(self, call: Call) -> bool:
        """Keep a batch if the only server for it is the one on which another batch is tried now."""
        apart = self._balance.apart
        wait = not self._closed and apart is not None and apart not in call.tried
        if wait:
            self._held.append(call)
        return wait

    def _answered(
        self, call: Call, member: Member, number: int, epoch: int, result: Answer | InferenceError
    ) -> None:
        """Handle a result, on a thread of the client."""
        with self._lock:
            if member.calls.pop(number, None) is None:
                return  # the batch went to another server meanwhile
            trial = self._trials.end(call)
            if isinstance(result, Answer):
                self._ended(member, "ok")
                member.answered_at = self._clock()
                if epoch == member.epoch:
                    member.backoff.reset()
                if call.accused is not None:
                    self._failed(*call.accused)  # it failed on what this server answered
                keep = False
            else:
                self._ended(member, result.failure.value)
                call.error = result
                keep = not self._closed and (
                    self._is_servers(call, member, epoch, result)
                    if trial is None
                    else self._trial_failed(trial, member, epoch, result)
                )
            self._try()
        if not keep:
            call.done(result)

    def _is_servers(self, call: Call, member: Member, epoch: int, error: InferenceError) -> bool:
        """Whether another server may succeed where this one failed; if so, that server gets the
        batch."""
        if error.failure is Failure.INVALID:
            return False
        if error.failure is Failure.INTERNAL:
            call.accused = call.accused or (member, epoch, error)
            # The cause may be the batch: it is sent to only one other server.
            call.doubts += 1
        else:
            self._failed(member, epoch, error)
            if error.status in TAKEN_DOWN and len(self.members) > 1 and self._balance.slots:
                self._trials.add(call, member.name, epoch, error)
                return True
        if call.doubts >= 2 or self._balance.choose(call.tried) is None:
            return False
        self.waiting.put(call)
        return True

    def _trial_failed(
        self, trial: Suspect, member: Member, epoch: int, error: InferenceError
    ) -> bool:
        if error.failure is not Failure.TRANSIENT and trial.call is trial.batch:
            return False  # the result is final: the pipeline handles it
        self._trials.failed(trial, error)
        if error.failure is Failure.TRANSIENT:
            self._failed(member, epoch, error)
        return True

    def _left(self, name: str) -> None:
        self._trials.forget(name)

    def _changed(self) -> None:
        self._rescue()
        self._try()

    def _try(self) -> None:
        """Go on with the trials: one batch at a time, on a server that has no other."""
        trials, balance = self._trials, self._balance
        if self._closed or not (trials.pending or balance.apart or self._held):
            return
        balance.apart = None
        name = balance.apart = trials.place(balance.all_well, balance.choose)
        if name is not None and not (trials.trying or balance.in_flight(name)):
            for free in trials.judge(gone=self.members[name].went):
                self._move_on(free)
            if (call := trials.begin()) is not None:
                log.info("batch_tried_alone", server=name, images=len(call.images))
                call.server = name
                self.waiting.put(call)
            else:
                balance.apart = None
        if self._held and (balance.apart is None or balance.choose() is not None):
            held, self._held = self._held, []
            for call in held:
                self._move_on(call)
        self._parked(trials.waiting)

    def _move_on(self, call: Call) -> None:
        call.server = None
        call.tried = set()
        self.waiting.put(call)

    def _ended(self, member: Member, outcome: str) -> None:
        if member.gone.is_set():
            member.changed.set()  # wakes its thread, which closes it once nothing is in flight
            return
        self._balance.ended(member.name, answered=outcome == "ok")
        self._metrics.server_requests.labels(member.name, outcome).inc()
        in_flight = self._balance.in_flight(member.name)
        self._metrics.server_in_flight.labels(member.name).set(in_flight)

    def _rescue(self) -> None:
        for member in (*self.members.values(), *self._leaving):
            if not member.stuck or not self._balance.slots:
                continue
            error = InferenceError("DEADLINE_EXCEEDED", f"{member.name} does not answer")
            for call in member.calls.values():
                call.tried = {member.name}
                call.error = error
                self._ended(member, "moved")
                if (trial := self._trials.end(call)) is not None:
                    self._trials.failed(trial, error)
                else:
                    self._trials.add(call, member.name, member.epoch, error)
            member.calls.clear()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            members = list(self.members.values())
        self.waiting.put(None)
        for member in members:
            member.gone.set()
            member.changed.set()
            member.server.close()
            self._metrics.forget_server(member.name)
