"""Whether this bridge is in its group and reads, if not why, and what is still to be read. Pure."""

import time
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import KafkaError

Key = tuple[str, int]
"""Topic and partition."""

QUIET_S = 10.0
"""Without news of the group for that long it is asked: a right that was taken away, or a broker
that has gone, shows in nothing else while no image comes."""
ASK_AGAIN_S = 2.0
"""Time between two such questions while something is wrong, in seconds."""

_OF_THE_TOPIC = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
}


class Membership:
    """Fed by the intake's thread alone; any thread may ask for `problem`.

    Args:
        group: its name, as reasons say it.
        clock: monotonic seconds.
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
        self.positions: dict[Key, int] = {}
        """The offset of the next record to read of each partition, as far as it is known."""

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
        return None

    @property
    def due(self) -> bool:
        """Whether the group is to be asked now."""
        wait = QUIET_S if self.problem is None else ASK_AGAIN_S
        return self._joined and self._clock() - self._heard_at >= wait

    def assigned(self, keys: Iterable[Key], positions: Mapping[Key, int]) -> None:
        """Partitions came, perhaps none.

        Args:
            positions: the committed offsets, of those that have one.
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
        """Partitions went; `lost`: because the group has put this member out."""
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
        """What was read from a partition ends before the offset `following`.

        Returns:
            The offset that was to come next, None where that is not known.
        """
        expected = self.positions.get(key)
        self.positions[key] = following
        if not self._reads or self._of_partitions or self._of_topic is not None:
            self._reads = True
            self._of_topic = None
            self._of_partitions.pop(key, None)
        return expected

    def failed(self, key: tuple[str | None, int | None], code: int, text: str) -> None:
        """The consumer reports an error, of a partition, of the topic or of the group."""
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
        """Partitions that could not be read and are to be tried anew now, if any."""
        now = self._clock()
        if not self._of_partitions or now - self._tried_at < ASK_AGAIN_S:
            return []
        self._tried_at = now
        return sorted(self._of_partitions)

    def asked(self, problem: str | None) -> None:
        """The group was asked something; `problem` is what it objected to."""
        self._heard_at = self._clock()
        self._of_questions = problem
        if problem is None:
            self._brokers_up = True

    def committed(self, problem: str | None) -> None:
        """A commit was answered, with this objection."""
        self._of_commits = problem
        if problem is None:
            self.asked(None)

    def brokers(self, *, up: bool) -> None:
        self._brokers_up = up

    def lags(self, ends: Mapping[Key, int], in_flight: Mapping[Key, int]) -> dict[Key, int]:
        """The records of each owned partition that are not done with: unread, and in flight.

        Args:
            ends: where readers find nothing more: the last stable offset for those that read what
                is committed, else the high watermark.
            in_flight: records that were read and are not done with.
        """
        return {
            key: max(0, ends[key] - self.positions[key]) + in_flight.get(key, 0)
            for key in sorted(self._owned)
            if key in ends and key in self.positions
        }
