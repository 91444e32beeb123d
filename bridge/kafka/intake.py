"""Where records come in from Kafka: one thread makes every call on the consumer."""

import time
from collections.abc import Callable, Iterable, Sequence
from threading import Event, Thread

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from bridge.images import Publication, ReceivedRecord
from bridge.kafka.assignment import Assignment
from bridge.kafka.delivery import Delivery
from bridge.kafka.records import Records
from bridge.kafka.watch import Watch
from bridge.metrics import Metrics
from bridge.room import Room

log = structlog.get_logger()

FULL_S = 0.5
"""Time without room, in seconds, after which partitions are paused. Before that the client's queue
just fills: a pause drops what the client has prefetched, so it must not follow every full batch."""
DRAIN_SLICE_S = 0.2
FLUSH_S = 5.0
"""Bound on the wait until published outcomes are safe, in seconds, where images are left that will
not be answered."""


class Intake:
    """Fetches while there is room, and keeps the group membership alive while there is none.

    Args:
        take: called with the records that were taken; must return at once.
        pixel_bytes: bytes that an image takes once it is decoded, in addition to its record.
        unwrapped_bytes: bytes that the content of a wrapped value takes in addition to the value.
        stalled: returns whether images cannot be finished now, so that it is useless to wait.
        failed: called, on the intake's thread, with the error that makes it impossible to go on.
        watch: gets what health and the consumer lag are derived from.
        after_batch: returns the offset after a batch that cannot be decompressed.
        broker_assigns: whether the group's protocol is KIP-848's, in which a member's epoch moves
            on without a change of its partitions.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        assignment: Assignment[Publication],
        metrics: Metrics,
        *,
        take: Callable[[Sequence[ReceivedRecord]], None],
        delivery: Delivery,
        pixel_bytes: int = 0,
        unwrapped_bytes: Callable[[bytes], int] = lambda _: 0,
        room: Room,
        commit_interval_s: float,
        drain_timeout_s: float,
        stalled: Callable[[], bool],
        failed: Callable[[Exception], None],
        watch: Watch | None = None,
        after_batch: Callable[[str, int, int], int] | None = None,
        broker_assigns: bool = False,
    ) -> None:
        self._watch = watch
        self._records = Records(
            consumer, assignment, watch, pixel_bytes=pixel_bytes, unwrapped_bytes=unwrapped_bytes,
            room=room, after_batch=after_batch,
        )  # fmt: skip
        self._broker_assigns = broker_assigns
        self._consumer = consumer
        self._topic = topic
        self._assignment = assignment
        self._metrics = metrics
        self._commit_interval_s = commit_interval_s
        self._drain_timeout_s = drain_timeout_s
        self._stalled = stalled
        self._failed = failed
        self._take = take
        self._delivery = delivery
        self._paused: set[tuple[str, int]] = set()
        self._uncommitted = False
        """Whether partitions were lost or revoked after the stop with outcomes that were not
        committed."""
        self._stopping = Event()
        self._at_once = Event()
        self._thread = Thread(target=self._run, name="intake", daemon=True)
        self.beat = time.monotonic()
        """Monotonic seconds of the loop's last turn, for the liveness check."""
        self.left: str | None = (
            "Kafka's client did not end in time: what was not committed will be delivered again"
        )
        """After a stop: what was not answered, or not committed; None when all was."""

    def resize(self, room: Room) -> None:
        """Allow this much in flight from now on; any thread may call it."""
        self._records.resize(room)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, at_once: bool = False) -> None:
        """Stop fetching and drain; `at_once`: do not drain, commit nothing more."""
        if at_once:
            self._at_once.set()
        self._stopping.set()

    def join(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._consumer.subscribe(
                [self._topic],
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )
            self._loop()
        except Exception as error:
            self._failed(error)
        try:
            self._finish()
        except Exception as error:
            self._failed(error)
        finally:
            self._close()

    def _loop(self) -> None:
        commit_at = time.monotonic()
        while not self._stopping.is_set():
            self.beat = now = time.monotonic()
            if now >= commit_at:
                if self._broker_assigns:
                    self._delivery.generation_changed()
                self._delivery.commit(wait=False)
                if self._watch is not None:
                    self._watch.turn(paused=bool(self._paused), emptied=self._records.was_emptied())
                commit_at = now + self._commit_interval_s
            full_s = 0.0 if self._paused else min(FULL_S, self._commit_interval_s)
            if self._records.wait_room(full_s):
                if self._paused:
                    self._resume(self._assignment.partitions)
                arrivals = self._records.fetch()
            else:
                self._pause()
                # Still polled: the group removes a consumer that does not poll.
                arrivals = self._records.fetch_one()
            if arrivals:
                self._take(arrivals)

    def _pause(self) -> None:
        fresh = set(self._assignment.partitions) - self._paused
        if fresh:
            self._consumer.pause([TopicPartition(*key) for key in fresh])
            self._paused |= fresh
            self._metrics.paused.set(len(self._paused))

    def _resume(self, keys: Iterable[tuple[str, int]]) -> None:
        """Fetch from these partitions again. Those that go must not stay paused: Kafka's client
        would remember it, and never fetch from them when they come back."""
        ours = self._paused & set(keys)
        if ours:
            self._consumer.resume([TopicPartition(*key) for key in ours])
            self._paused -= ours
            self._metrics.paused.set(len(self._paused))

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        keys = _keys(partitions)
        self._assignment.assign(keys)
        self._delivery.generation_changed()
        if self._watch is not None:
            self._watch.assigned(keys)
        self._rebalanced("assigned", keys)

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        keys = _keys(partitions)
        # By now a cooperative rebalance has already given the group a new generation, and these
        # partitions are still ours: commits with the old generation would be refused.
        self._delivery.generation_changed()
        if not self._at_once.is_set():
            if begun := self._records.take_begun():
                # This is called within a fetch: the drain below would never see its records.
                self._take(begun)
            # Images in flight are finished while the partitions are still ours, so that the next
            # owner need not repeat them; but not while Triton is away, which may last for ever.
            self._drain(keys)
            self._delivery.commit(wait=True)
            if self._assignment.uncommitted(keys):
                self._uncommitted = True
                log.warning("revoked_uncommitted", partitions=[partition for _, partition in keys])
        self._gone("revoked", keys)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        keys = _keys(partitions)
        if self._assignment.uncommitted(keys):
            self._uncommitted = True
        self._gone("lost", keys)  # they may have a new owner by now: commit nothing

    def _gone(self, kind: str, keys: list[tuple[str, int]]) -> None:
        self._assignment.revoke(keys)
        self._resume(keys)
        if self._watch is not None:
            self._watch.gone(keys, lost=kind == "lost")
        self._rebalanced(kind, keys)

    def _rebalanced(self, kind: str, keys: Sequence[tuple[str, int]]) -> None:
        self._metrics.rebalances.labels(kind).inc()
        self._metrics.assignment_changes.set(self._assignment.changes)
        owned = self._assignment.partitions
        self._metrics.partitions.set(len(owned))
        partitions = [partition for _, partition in keys]
        log.info("rebalanced", kind=kind, partitions=partitions, owned=len(owned))

    def _drain(self, keys: Sequence[tuple[str, int]]) -> bool:
        deadline = time.monotonic() + self._drain_timeout_s
        while not self._assignment.wait_finished(keys, DRAIN_SLICE_S):
            self.beat = now = time.monotonic()
            if now > deadline or self._stalled() or self._at_once.is_set():
                return False
        return True

    def _finish(self) -> None:
        if self._at_once.is_set():
            self.left = self._shortfall()
            return
        self._uncommitted = False
        deadline = time.monotonic() + self._drain_timeout_s
        self._pause()
        while not self._at_once.is_set():
            self.beat = now = time.monotonic()
            drained = self._assignment.wait_finished(self._assignment.partitions, DRAIN_SLICE_S)
            hopeless = now > deadline or (not drained and self._stalled())
            if hopeless and not drained:
                self._delivery.flush(FLUSH_S)
            if drained or hopeless:
                self._delivery.commit(wait=True)
            waits = self._assignment.uncommitted(self._assignment.partitions)
            if hopeless or (drained and not waits):
                break
            # During a rebalance no commit is accepted. Polling takes this member through it, to a
            # generation under which commits are. Records that come now are read again by the next
            # owner of their partition.
            self._consumer.poll(FULL_S if drained else 0)
            if self._broker_assigns:
                self._delivery.generation_changed()
        self.left = self._shortfall()
        if self.left is not None:
            log.warning("not_drained", images_left=self._assignment.images, left=self.left)

    def _shortfall(self) -> str | None:
        """What a stop left undone; None when nothing."""
        if self._assignment.images:
            return (
                f"stopped with {self._assignment.images} images in flight; they are not committed "
                "and will be delivered again"
            )
        if self._at_once.is_set():
            return "stopped at once; what was not committed will be delivered again"
        if self._uncommitted or self._assignment.uncommitted(self._assignment.partitions):
            return (
                "stopped, and the last answers could not be committed (commit_failed says why); "
                "their images will be delivered again"
            )
        return None

    def _close(self) -> None:
        self._at_once.set()  # everything was drained, or must not be
        try:
            self._consumer.close()
        except KafkaException as error:
            log.warning("consumer_close_failed", error=str(error))


def _keys(partitions: Sequence[TopicPartition]) -> list[tuple[str, int]]:
    return [(one.topic, one.partition) for one in partitions]
