"""How many images go into one transaction, and which of them it was that Kafka refused."""

from collections.abc import Sequence

from bridge.images import Publication
from bridge.kafka.assignment import Completed
from bridge.kafka.offsets import Entry

MAX_ENTRIES = 2000
"""Most images in one transaction: with more, the time for each image does not fall, and the
transaction must end in time."""


CALM = 16
"""Transactions committed in a row before larger ones are tried again."""


class TransactionSize:
    """How many images the next transaction carries. Pure.

    It outlives the client that makes the transactions: over a slow network a client is replaced
    after its second transaction, and it can take more than that until one is small enough.

    Attributes:
        limit: most images of the next transaction.
    """

    def __init__(self) -> None:
        self.limit = MAX_ENTRIES
        self._calm = 0
        """Transactions committed since the limit was changed."""
        self._culprit_found = False

    def timed_out(self, part: Sequence[Completed[Publication]]) -> None:
        """Note that a transaction took too long: the next one may have half as many images."""
        self.limit = max(1, sum(len(one.entries) for one in part) // 2)
        self._calm = 0

    def refused(
        self, part: Sequence[Completed[Publication]], refusal: str
    ) -> Sequence[Entry[Publication]]:
        """Halve the next transaction; if this one had one record, return the outcomes to replace.

        A broker judges the records of one request and partition together, and a transaction fails
        as a whole: halving finds the record that was refused.
        """
        entries = [entry for one in part for entry in one.entries]
        self._calm = 0
        if len(part) > 1 or entries[0].offset != entries[-1].offset:
            self.limit = len(entries) // 2
            return ()
        self._culprit_found = True
        # An outcome that is not published cannot have been refused.
        entries = [one for one in entries if one.result is not None and not one.result.silent]
        # The images of one record go together: replace the largest first, then the next.
        return [max(entries, key=_size)] if refusal == "too_large" else entries

    def committed(self) -> None:
        """Note a commit: larger transactions are tried again, at once if one record was at
        fault."""
        self._calm += 1
        if self._culprit_found:
            self.limit = MAX_ENTRIES
            self._culprit_found = False
        elif self._calm >= CALM and self.limit < MAX_ENTRIES:
            self.limit = min(MAX_ENTRIES, 2 * self.limit)
            self._calm = 0


def _size(entry: Entry[Publication]) -> int:
    if entry.result is None:
        return 0
    key, value, headers = entry.result.record
    in_headers = sum(len(name) + len(text or b"") for name, text in headers)
    return len(key or b"") + len(value or b"") + in_headers


def split(
    completed: Sequence[Completed[Publication]], limit: int
) -> tuple[list[Completed[Publication]], list[Completed[Publication]]]:
    """The first `limit` entries, each partition with the offset after its last one; and the rest.

    Entries of one record stay together, since one offset stands for all of them.
    """
    part: list[Completed[Publication]] = []
    rest: list[Completed[Publication]] = []
    for one in completed:
        size = max(0, limit)
        while 0 < size < len(one.entries) and (
            one.entries[size].offset == one.entries[size - 1].offset
        ):
            size += 1
        head, tail = one.entries[:size], one.entries[size:]
        limit -= len(head)
        if not tail:
            part.append(one)
            continue
        if head:
            part.append(Completed(one.tracker, head[-1].offset + 1, head))
        rest.append(Completed(one.tracker, one.offset, tail))
    return part, rest
