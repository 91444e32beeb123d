"""One line of the verdict, and how it is judged from repeats. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.spread import Spread, ratio


class Goal(NamedTuple):
    """One line of the verdict.

    Attributes:
        met: whether the goal is met; None where there is nothing to judge.
    """

    what: str
    wanted: str
    measured: str = "not measured"
    met: bool | None = None


def at_least(what: str, ours: Sequence[float], theirs: Sequence[float], goal: float) -> Goal:
    """A ratio, taken repeat by repeat, whose median must reach the goal."""
    # A run that was stopped early may have more repeats of the first measurement than of others.
    repeats = min(len(ours), len(theirs))
    if not repeats:
        return Goal(what, f"≥ {goal:g}")
    spread = ratio(ours[:repeats], theirs[:repeats])
    return Goal(what, f"≥ {goal:g}", spread.text(), spread.median >= goal)


def rate(what: str, values: Sequence[float], goal: float) -> Goal:
    """A rate whose median must reach the goal."""
    if not values:
        return Goal(what, f"≥ {goal:,.0f}")
    spread = Spread.of(values)
    return Goal(what, f"≥ {goal:,.0f}", spread.text(0), spread.median >= goal)


def at_most(what: str, values: Sequence[float], goal: float, digits: int) -> Goal:
    """A value whose median must not exceed the goal."""
    if not values:
        return Goal(what, f"≤ {goal:g}")
    spread = Spread.of(values)
    return Goal(what, f"≤ {goal:g}", spread.text(digits), spread.median <= goal)


def shown(what: str, ours: Sequence[float], theirs: Sequence[float]) -> Goal:
    """A ratio that is shown and not judged."""
    return at_least(what, ours, theirs, 0)._replace(wanted="", met=None)
