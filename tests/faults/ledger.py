"""What became of every image that was sent. Pure."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts of image ids.

    Attributes:
        answered: ids with a prediction.
        dead: ids with a dead letter and no prediction.
        lost: sent and neither answered nor dead-lettered.
        doubled: answers and dead letters beyond the first of an id.
        strange: ids that came back and were never sent.
    """

    sent: int
    answered: int
    dead: int
    lost: int
    doubled: int
    strange: int


def balance(sent: Collection[str], answers: Counter[str], dead: Counter[str]) -> Ledger:
    """Compare the ids that were sent with how often each came back."""
    known = set(sent)
    both = answers + dead
    return Ledger(
        sent=len(known),
        answered=len(known & answers.keys()),
        dead=len((known & dead.keys()) - answers.keys()),
        lost=len(known - both.keys()),
        doubled=both.total() - len(both),
        strange=len(both.keys() - known),
    )
