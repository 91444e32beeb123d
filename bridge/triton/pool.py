"""Several Tritons behind the protocol of one: each batch goes to the server with the least to do.

A server gets images once it has been examined: its model answers a probe image, and is the one
that the others serve. From its first failure it is left alone, until it passes again. What it had
goes to the others; where it may have been what the server went down with, to one of them alone and
with nothing beside it (`bridge/triton/trials.py`). `done` is called once for each batch, with the
answer that comes first.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from itertools import count
from queue import SimpleQueue
from threading import RLock

import structlog

from bridge.backoff import Backoff
from bridge.batching import TAKEN_DOWN
from bridge.inference import Answer, Checked, Done, Failure, InferenceError
from bridge.metrics import Metrics
from bridge.triton.addresses import Address, Addresses
from bridge.triton.balance import Balance
from bridge.triton.member import Call, Member, Server, examine
from bridge.triton.model import ModelSpec, UnservableModelError
from bridge.triton.trials import Suspect, Trials
from imaging.rules import Input, Size

log = structlog.get_logger()

CHECK_TIMEOUT_S = 2.0
"""Bound on a check, in seconds. Triton answers one by itself in a millisecond, however busy the
model is. Where the whole machine is too busy for that, the answers to images show that it is not
frozen."""
MAY_DIFFER = {"instances", "max_batch"}
"""Fields in which the models of the servers may differ: they say how fast each server is, which the
balance takes into account."""


class Pool:
    """Several Tritons with one model.

    Args:
        connect: makes the client of one server; must not wait for it.
        max_inflight: requests with each server at a time; 0: two for each instance of its model.
        mixed_versions: use servers of different model versions side by side.
        max_attempts: probe images that a model may fail on before it is refused, and requests in
            which an image alone may take a server down.
        timeout_s: for the answer to a probe image.
        retry_min_s, retry_max_s: how long a server that failed is left alone.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        addresses: Addresses,
        connect: Callable[[Address], Server],
        *,
        metrics: Metrics,
        max_inflight: int = 0,
        mixed_versions: bool = False,
        max_attempts: int = 5,
        timeout_s: float = 30,
        retry_min_s: float = 0.1,
        retry_max_s: float = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.addresses = addresses
        self.members: dict[str, Member] = {}
        self._leaving: list[Member] = []
        self.waiting: SimpleQueue[Call | None] = SimpleQueue()
        """Batches that need another server; None ends whoever moves them."""
        self.slots = 1
        """Requests that the well servers take at a time; without any, as many as before."""
        self._connect = connect
        self._metrics = metrics
        self._max_inflight = max_inflight
        self._mixed = mixed_versions
        self._max_attempts = max_attempts
        self._timeout_s = timeout_s
        self._backoff = partial(Backoff, retry_min_s, retry_max_s, random.random)
        self._clock = clock
        self._balance = Balance(clock)
        self._trials = Trials(clock, max_attempts)
        self._held: list[Call] = []
        """Batches for the server on which one is tried, while there is no other."""
        # Sending can fail, and so call back, before it returns.
        self._lock = RLock()
        self._numbers = count()
        self._spec: ModelSpec | None = None
        self._version = ""
        self._resized: Callable[[int], None] = lambda _slots: None
        self._parked: Callable[[int], None] = lambda _batches: None
        self._closed = False

    def load_spec(self) -> ModelSpec:
        """What the servers' model is, said by the first that passes an examination.

        Raises:
            InferenceError: none does, now.
            UnservableModelError: none does, and none of them can without a change of its model.
        """
        self.refresh()
        members = list(self.members.values())
        passing = 0
        for member in members:
            try:
                return self.look(member)
            except InferenceError:
                passing += 1
            except UnservableModelError:
                pass
        reasons = [member.reason for member in members] + [self.addresses.problem]
        text = "; ".join(reason for reason in reasons if reason)
        if members and not passing:
            raise UnservableModelError(text)
        raise InferenceError("UNAVAILABLE", text or "there is no address of Triton")

    def on_resize(self, resized: Callable[[int], None]) -> None:
        """Have `slots` told now and at each change; it is called on any thread, one at a time."""
        with self._lock:
            self._resized = resized
            resized(self.slots)

    def on_park(self, parked: Callable[[int], None]) -> None:
        """Have it told how many batches wait to be tried by themselves, and are with no server."""
        with self._lock:
            self._parked = parked

    def refresh(self) -> list[Member]:
        """Take in the servers that have come, let go of those that are gone; returns the new ones.

        A server that is gone gets no more batches, and may still answer those that it has.
        """
        found = self.addresses.now()
        with self._lock:
            if self._closed:
                return []
            for name in self.members.keys() - {one.text for one in found}:
                log.info("triton_gone", server=name)
                self._balance.leave(name)
                self._trials.forget(name)
                self._metrics.forget_server(name)
                member = self.members.pop(name)
                member.examined = False
                member.gone.set()
                member.changed.set()
                self._leaving = [one for one in (*self._leaving, member) if one.calls]
            new = [
                Member(one, self._connect(one), self._backoff())
                for one in found
                if one.text not in self.members
            ]
            for member in new:
                self.members[member.name] = member
                self._balance.join(member.name)
            self._elect()
        return new

    def look(self, member: Member) -> ModelSpec:
        """Examine a server; from then on it gets images, or `reason` says why not.

        Raises:
            InferenceError: it cannot be used now.
            UnservableModelError: its model cannot, or is another than that of the others.
        """
        try:
            spec, version = examine(member, self._max_attempts, self._timeout_s)
            self._compare(spec)
        except (InferenceError, UnservableModelError) as error:
            with self._lock:
                reason = f"{member.name}: {error}"
                if member.reason != reason:
                    log.warning("triton_left_out", server=member.name, error=str(error)[:300])
                member.reason = reason
                member.went = True
            raise
        with self._lock:
            if self._spec is None:
                self._spec = spec
            if not member.gone.is_set():
                member.spec, member.version = spec, version
                member.examined, member.stuck = True, False
                member.answered_at = self._clock()
                self._elect()
            return self._spec

    def ask(self, member: Member) -> None:
        """Ask a server that has batches, or may get some, whether it still answers."""
        asked, epoch = self._clock(), member.epoch
        try:
            version = member.server.serving(CHECK_TIMEOUT_S)
        except InferenceError as error:
            with self._lock:
                silent = error.status == "DEADLINE_EXCEEDED"
                if silent and member.answered_at > asked:
                    return  # it answers images
                if member.gone.is_set():
                    member.stuck = True
                    self._rescue()
                    self._try()
                else:
                    self._failed(member, epoch, error)
                return
        with self._lock:
            if version != member.version and member.examined:
                self._failed(
                    member, epoch, InferenceError("UNAVAILABLE", f"now serves version {version}")
                )
            self._try()  # another server than the one that is awaited, once that takes too long

    def infer(
        self,
        images: Sequence[Input],
        done: Done,
        traceparent: str | None = None,
        sizes: Sequence[Size | None] = (),
    ) -> None:
        self.forward(Call(images, done, traceparent, sizes))

    def check(self, done: Checked) -> None:
        """Each server is asked once a second anyway: what is known is told."""
        with self._lock:
            well = self._balance.slots > 0
        done(None if well else InferenceError("UNAVAILABLE", self._why_none()))

    def forward(self, call: Call) -> None:
        """Send a batch to the best server that has not had it; without one, it has failed.

        Raises:
            Exception: no request can be made of it.
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
        """Keep a batch that only the server could get on which another is tried just now."""
        apart = self._balance.apart
        wait = not self._closed and apart is not None and apart not in call.tried
        if wait:
            self._held.append(call)
        return wait

    def _answered(
        self, call: Call, member: Member, number: int, epoch: int, result: Answer | InferenceError
    ) -> None:
        """On a thread of the client's."""
        with self._lock:
            if member.calls.pop(number, None) is None:
                return  # it went to another meanwhile
            trial = self._trials.end(call)
            if isinstance(result, Answer):
                self._ended(member, "ok")
                member.answered_at = self._clock()
                if epoch == member.epoch:
                    member.backoff.reset()
                if call.accused is not None:
                    self._failed(*call.accused)  # on what this one answered
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
        """Whether another server may do better with what this one failed on; then it gets it."""
        if error.failure is Failure.INVALID:
            return False
        if error.failure is Failure.INTERNAL:
            call.accused = call.accused or (member, epoch, error)
            # The batch may be what it failed on: one other server is asked, and no more.
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
            return False  # it is answered, in a way: the pipeline knows what to do
        self._trials.failed(trial, error)
        if error.failure is Failure.TRANSIENT:
            self._failed(member, epoch, error)
        return True

    def _try(self) -> None:
        """Go on with the trials: one batch at a time, on a server that has nothing else."""
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
            member.changed.set()  # with nothing left to answer it is closed
            return
        self._balance.ended(member.name, answered=outcome == "ok")
        self._metrics.server_requests.labels(member.name, outcome).inc()
        in_flight = self._balance.in_flight(member.name)
        self._metrics.server_in_flight.labels(member.name).set(in_flight)

    def _failed(self, member: Member, epoch: int, error: InferenceError) -> None:
        if epoch != member.epoch or not member.examined:
            return  # known already
        member.epoch += 1
        member.examined = member.went = False
        member.stuck = error.status == "DEADLINE_EXCEEDED"
        member.reason = f"{member.name}: {error}"
        log.warning(
            "triton_left_alone", server=member.name, status=error.status, error=str(error)[:300]
        )
        self._elect()
        member.changed.set()

    def _elect(self) -> None:
        """Decide who gets images, after any change; rescues what stuck servers have."""
        passed = [member for member in self.members.values() if member.examined]
        versions = {member.version for member in passed}
        if versions and self._version not in versions:
            newest = max(versions, key=lambda one: (len(one), one))
            if self._version:
                log.warning("model_version_changed", before=self._version, now=newest)
            self._version = newest
        for name, member in self.members.items():
            well = member.examined and (self._mixed or member.version == self._version)
            if well and member.spec is not None:
                self._balance.well(name, self._max_inflight or 2 * member.spec.instances)
            else:
                self._balance.unwell(name)
            if member.examined:
                self._tell_version(member, used=well)
            self._metrics.server_up.labels(name).set(well)
        slots = self._balance.slots
        if slots and slots != self.slots:
            self.slots = slots
            self._resized(slots)
        if slots:
            self._rescue()
        self._try()

    def _tell_version(self, member: Member, *, used: bool) -> None:
        reason = None
        if not used:
            reason = (
                f"{member.name}: serves version {member.version} of the model, the others "
                f"{self._version} (mixed_versions would use both)"
            )
        if member.reason == reason:
            return
        member.reason = reason
        if used:
            log.info("triton_well", server=member.name, version=member.version)
        else:
            log.warning(
                "triton_of_another_version", server=member.name, version=member.version,
                used_version=self._version,
            )  # fmt: skip

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

    def _compare(self, spec: ModelSpec) -> None:
        known = self._spec
        if known is None:
            return
        different = [
            f"{field.name} {getattr(spec, field.name)!r}, served: {getattr(known, field.name)!r}"
            for field in fields(spec)
            if field.name not in MAY_DIFFER
            and getattr(spec, field.name) != getattr(known, field.name)
        ]
        if spec.max_batch < known.max_batch:
            different.append(f"max_batch_size {spec.max_batch}, served: {known.max_batch}")
        if different:
            raise UnservableModelError(
                f"its model is another than the one that this bridge serves: {'; '.join(different)}"
            )

    def _why_none(self) -> str:
        with self._lock:
            reasons = [member.reason for member in self.members.values() if member.reason]
        return "no Triton is well: " + ("; ".join(reasons) or "there is no address")

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
