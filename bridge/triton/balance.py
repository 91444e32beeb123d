"""Which of several Tritons gets the next batch. Pure: the clock is injected."""

import math
from collections.abc import Callable, Container
from dataclasses import dataclass

KEEP = 0.8
"""Weight of a server's older answers beside its newest, so that a handful of answers decides."""
TOO_SLOW = 0.25
"""A server slower than this share of the best is not filled to its slots: its batches would hold
back the commits of all that was answered after them."""
FORGET_S = 5.0
"""A server that was too slow to get a batch for that long is tried again: it may have recovered."""


@dataclass(slots=True)
class Load:
    """What one server has to do, and how long it takes.

    Attributes:
        slots: requests that it is given before others that have room.
        well: whether it gets any.
        in_flight: requests with it now.
        busy_s, answers: time with something to do, and requests answered in it; older ones count
            for less.
        since: monotonic seconds from which the answer to its next request is waited for.
        sent: turn in which it got its newest request.
    """

    slots: int = 1
    well: bool = False
    in_flight: int = 0
    busy_s: float = 0.0
    answers: float = 0.0
    since: float = 0.0
    sent: int = 0


class Balance:
    """Fewest requests in flight, weighted by what each server sustains.

    What is compared is the time until a request would be answered: requests in flight, times the
    seconds that the server took for each of its last ones. Seconds for each request and not for
    each image: a server that just had small batches looks fast, gets the next large one, and no
    longer does.

    Args:
        clock: monotonic seconds.

    Attributes:
        apart: a server that `choose` passes over, well or not; None: there is none.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.apart: str | None = None
        self._clock = clock
        self._loads: dict[str, Load] = {}
        self._turn = 0

    @property
    def slots(self) -> int:
        """Requests that all well servers together are given at a time."""
        return sum(load.slots for load in self._loads.values() if load.well)

    def join(self, name: str) -> None:
        self._loads[name] = Load()

    def leave(self, name: str) -> None:
        del self._loads[name]

    def well(self, name: str, slots: int) -> None:
        """It gets batches. Before, it had none for a while: how fast it was no longer counts."""
        load = self._loads[name]
        if not load.well:
            load.busy_s = load.answers = 0.0
        load.well, load.slots = True, slots

    def unwell(self, name: str) -> None:
        self._loads[name].well = False

    @property
    def all_well(self) -> set[str]:
        return {name for name, load in self._loads.items() if load.well}

    def in_flight(self, name: str) -> int:
        return self._loads[name].in_flight

    def choose(self, tried: Container[str] = ()) -> str | None:
        """The server for the next request, None where no well one is left that was not tried."""
        candidates = {
            name: load
            for name, load in self._loads.items()
            if load.well and name not in tried and name != self.apart
        }
        if not candidates:
            return None
        times = {name: self._request_s(load) for name, load in candidates.items()}
        best = min((one for one in times.values() if one is not None), default=None)

        def cost(name: str) -> tuple[bool, float, int]:
            load, share = candidates[name], self._share(best, times[name])
            room = load.in_flight < load.slots and share >= TOO_SLOW
            return not room, (load.in_flight + 1) / share, load.sent

        return min(candidates, key=cost)

    def sent(self, name: str) -> None:
        load = self._loads[name]
        if load.in_flight == 0:
            load.since = self._clock()
        load.in_flight += 1
        self._turn += 1
        load.sent = self._turn

    def ended(self, name: str, *, answered: bool) -> None:
        """A request is no longer with it; only one that was answered tells how fast it is."""
        load, now = self._loads[name], self._clock()
        load.in_flight -= 1
        if answered:
            load.busy_s = KEEP * load.busy_s + (now - load.since)
            load.answers = KEEP * load.answers + 1
        load.since = now

    def _request_s(self, load: Load) -> float | None:
        """Seconds for each request; None where they are not known."""
        waited = self._clock() - load.since
        if not load.answers or (load.in_flight == 0 and waited > FORGET_S):
            return None
        if load.in_flight:
            # One that takes longer than all before counts from now on, not from its answer on.
            return max(load.busy_s / load.answers, waited)
        return load.busy_s / load.answers

    @staticmethod
    def _share(best: float | None, request_s: float | None) -> float:
        """What a server sustains, of what the best does, as a power of two.

        Nearer than that is chance: the servers are taken to be alike.
        """
        if not best or request_s is None:
            return 1.0
        return 2.0 ** round(math.log2(best / request_s))
