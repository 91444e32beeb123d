"""Whether this bridge is in its group and reads, if not why, and the consumer lag. Pure."""

import time
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import KafkaError

Key = tuple[str, int]
"""Topic and partition."""

QUIET_S = 10.0
"""Seconds without news of the group after which it is asked: while no image comes, nothing else
shows that a right was taken away or that a broker has gone."""
ASK_AGAIN_S = 2.0
"""Time between two such questions while something is wrong, in seconds."""
STUCK_S = 60.0
"""Seconds for which records of a partition do not come, though it has them, after which that is a
problem: Kafka's client may ask again and again for a damaged batch and not say so."""

_OF_THE_TOPIC = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
}


class Membership:
    """Fed by the intake's thread alone; any thread may ask for `problem`.

    Args:
        group: its name, for the reasons.
        clock: returns monotonic seconds.
    """

    def __init__(self, group: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._group = group
        self._clock = clock
        self._joined = False
        self._reads = False
        self._owned: set[Key] = set()
        self._of_group: str | None = None
        self._of_topic: str | None = None
        self._of_partitions: dict[Key, str] = {}
        self._of_commits: str | None = None
        self._of_questions: str | None = None
        self._brokers_up = True
        self._heard_at = clock()
        self._tried_at = clock()
        self._ends: Mapping[Key, int] = {}
        self._waits: dict[Key, tuple[int, float]] = {}
        """For each partition with records that do not come, its position and since when."""
        self._emptied_at = clock()
        """When all that Kafka's client had fetched was taken: what had not come by then is not
        behind the records of other partitions."""
        self.positions: dict[Key, int] = {}
        """The offset of the next record to read of each partition where it is known."""

    @property
    def problem(self) -> str | None:
        """Why nothing, or not everything, is read and committed; None when all is well."""
        if not self._brokers_up:
            return "no broker can be reached"
        if self._of_group is not None:
            return f"group {self._group!r}: {self._of_group}"
        if not self._joined:
            return f"has not joined the group {self._group!r} yet"
        if self._of_commits is not None or self._of_questions is not None:
            return f"group {self._group!r}: {self._of_commits or self._of_questions}"
        first = next(iter(list(self._of_partitions.values())), None)
        if self._of_topic is not None or first is not None:
            return self._of_topic or first
        if self._owned and not self._reads:
            return "nothing was read from its partitions yet"
        return self._stuck()

    def _stuck(self) -> str | None:
        for (topic, partition), (position, since) in list(self._waits.items()):
            if self._emptied_at - since >= STUCK_S:
                return (
                    f"partition {partition} of {topic}: the record at offset {position} does not "
                    f"come for {self._clock() - since:.0f} s"
                )
        return None

    def looked(self, *, paused: bool, emptied: bool) -> None:
        """Note which partitions have records that do not come; called about twice a second.

        Args:
            paused: whether nothing is to be read now.
            emptied: whether all that Kafka's client had fetched was taken since the last call.
        """
        now = self._clock()
        if emptied:
            self._emptied_at = now
        waits: dict[Key, tuple[int, float]] = {}
        for key in () if paused else self._owned:
            position = self.positions.get(key)
            if position is not None and position < self._ends.get(key, 0):
                known = self._waits.get(key)
                waits[key] = known if known and known[0] == position else (position, now)
        self._waits = waits

    @property
    def due(self) -> bool:
        """Whether the group is to be asked now."""
        wait = QUIET_S if self.problem is None else ASK_AGAIN_S
        return self._joined and self._clock() - self._heard_at >= wait

    def assigned(self, keys: Iterable[Key], positions: Mapping[Key, int]) -> None:
        """Note partitions that were assigned, perhaps none.

        Args:
            positions: the committed offsets of the partitions that have one.
        """
        self._joined = self._brokers_up = True
        self._of_group = self._of_commits = None
        self._heard_at = self._clock()
        fresh = set(keys)
        self._owned |= fresh
        self.positions.update({key: at for key, at in positions.items() if key in fresh})
        if fresh:
            self._of_topic = None

    def gone(self, keys: Iterable[Key], *, lost: bool = False) -> None:
        """Note partitions that were revoked; `lost`: the group has removed this member."""
        for key in keys:
            self._owned.discard(key)
            self._of_partitions.pop(key, None)
            self.positions.pop(key, None)
        self._of_commits = None
        if not self._owned:
            self._reads = False
        if lost:
            self._joined = False

    def read(self, key: Key, following: int) -> int | None:
        """Note that records before the offset `following` of a partition were read.

        Returns:
            The offset that was expected next; None where it is not known.
        """
        expected = self.positions.get(key)
        self.positions[key] = following
        if not self._reads or self._of_partitions or self._of_topic is not None:
            self._reads = True
            self._of_topic = None
            self._of_partitions.pop(key, None)
        return expected

    def failed(self, key: tuple[str | None, int | None], code: int, text: str) -> None:
        """Note an error that the consumer reports about a partition, the topic or the group."""
        topic, partition = key
        if (topic, partition) in self._owned:
            assert topic is not None
            assert partition is not None
            self._of_partitions[topic, partition] = f"partition {partition} of {topic}: {text}"
        elif code in _OF_THE_TOPIC:
            self._of_topic = text
        else:
            self._of_group = text

    def to_try(self) -> list[Key]:
        """Partitions that could not be read and are to be tried again now, if any."""
        now = self._clock()
        if not self._of_partitions or now - self._tried_at < ASK_AGAIN_S:
            return []
        self._tried_at = now
        return sorted(self._of_partitions)

    def asked(self, problem: str | None) -> None:
        """Note that the group was asked something; `problem` is its objection, None: it had
        none."""
        self._heard_at = self._clock()
        self._of_questions = problem
        if problem is None:
            self._brokers_up = True

    def committed(self, problem: str | None) -> None:
        """Note that a commit was answered; `problem` is the objection, None: there was none."""
        self._of_commits = problem
        if problem is None:
            self.asked(None)

    def brokers(self, *, up: bool) -> None:
        self._brokers_up = up

    def lags(self, ends: Mapping[Key, int], in_flight: Mapping[Key, int]) -> dict[Key, int]:
        """The consumer lag of each owned partition: its records that are unread or in flight.

        Args:
            ends: offset at which a reader finds nothing more: the last stable offset if it reads
                only committed records, else the high watermark.
            in_flight: number of records that were read and are not finished.
        """
        self._ends = ends
        return {
            key: max(0, ends[key] - self.positions[key]) + in_flight.get(key, 0)
            for key in sorted(self._owned)
            if key in ends and key in self.positions
        }
