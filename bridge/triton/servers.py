"""Which Triton servers there are, and which of them get images.

A server gets images once it has passed an examination: its model answers a probe image and is the
model that the others serve. After a failure it gets none until it passes again.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from threading import RLock

import structlog

from bridge.backoff import Backoff
from bridge.inference import InferenceError
from bridge.metrics import Metrics
from bridge.triton.addresses import Address, Addresses
from bridge.triton.balance import Balance
from bridge.triton.member import Member, Server, examine
from bridge.triton.model import ModelSpec, UnservableModelError

log = structlog.get_logger()

CHECK_TIMEOUT_S = 2.0
"""Bound on a check, in seconds. Triton itself answers a check in a millisecond, however busy the
model is. Where the whole machine is too busy for that, answers to images show that it is not
frozen."""
MAY_DIFFER = {"instances", "max_batch"}
"""Fields in which the servers' models may differ: they affect only how fast a server is, and the
balance takes that into account."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How several servers are used.

    Attributes:
        max_inflight: requests with each server at a time; 0: two for each instance of its model.
        mixed_versions: whether servers of different model versions are used side by side.
        max_attempts: probe images that a model may fail on before it is refused, and requests in
            which a single image may take a server down.
        timeout_s: seconds to wait for the answer to a probe image.
        retry_min_s, retry_max_s: seconds for which a server that failed gets no images.
    """

    max_inflight: int = 0
    mixed_versions: bool = False
    max_attempts: int = 5
    timeout_s: float = 30
    retry_min_s: float = 0.1
    retry_max_s: float = 5


class Servers:
    """Several Triton servers with one model: which exist, and which are well.

    Args:
        connect: makes the client of one server; must return without waiting for the server.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        addresses: Addresses,
        connect: Callable[[Address], Server],
        *,
        metrics: Metrics,
        limits: Limits = Limits(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.addresses = addresses
        self.members: dict[str, Member] = {}
        self._leaving: list[Member] = []
        self.slots = 1
        """Requests that the well servers take at a time; if no server is well, the last value."""
        self._connect = connect
        self._metrics = metrics
        self._limits = limits
        self._backoff = partial(Backoff, limits.retry_min_s, limits.retry_max_s, random.random)
        self._clock = clock
        self._balance = Balance(clock)
        # Reentrant: sending can fail, and so call back, before it returns.
        self._lock = RLock()
        self._spec: ModelSpec | None = None
        self._version = ""
        self._resized: Callable[[int], None] = lambda _slots: None
        self._closed = False

    def load_spec(self) -> ModelSpec:
        """The description of the servers' model, from the first that passes an examination.

        Raises:
            InferenceError: no server passes now.
            UnservableModelError: no server passes, and none can without a change of its model.
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
        """Have `resized` called with `slots` now and at each change; on any thread, one at a
        time."""
        with self._lock:
            self._resized = resized
            resized(self.slots)

    def refresh(self) -> list[Member]:
        """Add servers that have come, release those that are gone; returns the new ones.

        A server that is gone gets no more batches, but may still answer those that it has.
        """
        found = self.addresses.now()
        with self._lock:
            if self._closed:
                return []
            for name in self.members.keys() - {one.text for one in found}:
                log.info("triton_gone", server=name)
                self._balance.leave(name)
                self._left(name)
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
        """Examine a server; after that it gets images, or `reason` says why not.

        Raises:
            InferenceError: it cannot be used now.
            UnservableModelError: its model cannot be used, or differs from the others' model.
        """
        try:
            spec, version = examine(member, self._limits.max_attempts, self._limits.timeout_s)
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
        """Check whether a server that has batches, or may get some, still answers."""
        asked, epoch = self._clock(), member.epoch
        try:
            version = member.server.serving(CHECK_TIMEOUT_S)
        except InferenceError as error:
            with self._lock:
                silent = error.status == "DEADLINE_EXCEEDED"
                if silent and member.answered_at > asked:
                    return  # it is busy but answers images
                if member.gone.is_set():
                    member.stuck = True
                    self._changed()
                else:
                    self._failed(member, epoch, error)
                return
        with self._lock:
            if version != member.version and member.examined:
                self._failed(
                    member, epoch, InferenceError("UNAVAILABLE", f"now serves version {version}")
                )
            self._changed()  # if the awaited server takes too long, another one is used

    def _left(self, name: str) -> None:
        """Called when a server has been removed from the members. The caller holds the lock."""

    def _changed(self) -> None:
        """Called when a server that gets images, or may get them, changes. The caller holds the
        lock."""

    def _failed(self, member: Member, epoch: int, error: InferenceError) -> None:
        if epoch != member.epoch or not member.examined:
            return  # this failure is known already
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
        """Decide, after any change, which servers get images."""
        passed = [member for member in self.members.values() if member.examined]
        versions = {member.version for member in passed}
        if versions and self._version not in versions:
            newest = max(versions, key=lambda one: (len(one), one))
            if self._version:
                log.warning("model_version_changed", before=self._version, now=newest)
            self._version = newest
        for name, member in self.members.items():
            well = member.examined and (
                self._limits.mixed_versions or member.version == self._version
            )
            if well and member.spec is not None:
                self._balance.well(name, self._limits.max_inflight or 2 * member.spec.instances)
            else:
                self._balance.unwell(name)
            if member.examined:
                self._tell_version(member, used=well)
            self._metrics.server_up.labels(name).set(well)
        slots = self._balance.slots
        if slots and slots != self.slots:
            self.slots = slots
            self._resized(slots)
        self._changed()

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
