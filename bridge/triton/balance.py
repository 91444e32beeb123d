"""Which of several Tritons gets the next batch. Pure: the clock is injected."""

import math
from collections.abc import Callable, Container
from dataclasses import dataclass

KEEP = 0.8
"""Weight of a server's older answers beside its newest, so that the last few answers decide."""
TOO_SLOW = 0.25
"""Share of the best server's speed below which a server is not filled to its slots: its batches
would hold back the commits of all that was answered after them."""
FORGET_S = 5.0
"""Seconds after which a server that was too slow to get a batch is tried again: it may have
recovered."""


@dataclass(slots=True)
class Load:
    """The work of one server, and how fast it is.

    Attributes:
        slots: requests that it is given before other servers with room get more.
        well: whether it is given any requests.
        in_flight: requests that it has now.
        busy_s, answers: seconds with something to do, and requests answered in them; older values
            count for less.
        since: monotonic seconds since which the answer to its next request has been awaited.
        sent: the turn in which it got its newest request.
    """

    slots: int = 1
    well: bool = False
    in_flight: int = 0
    busy_s: float = 0.0
    answers: float = 0.0
    since: float = 0.0
    sent: int = 0


class Balance:
    """Chooses the server with the fewest requests in flight, weighted by the servers' speeds.

    It compares the time until a request would be answered: requests in flight, times the seconds
    that the server took for each of its last requests. The seconds are for each request, not for
    each image: otherwise a server that just had small batches would look fast, get the next large
    batch, and be slow.

    Args:
        clock: returns monotonic seconds.

    Attributes:
        apart: a server that `choose` passes over even if it is well; None: no server is.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.apart: str | None = None
        self._clock = clock
        self._loads: dict[str, Load] = {}
        self._turn = 0

    @property
    def slots(self) -> int:
        """Requests that all well servers together may have at a time."""
        return sum(load.slots for load in self._loads.values() if load.well)

    def join(self, name: str) -> None:
        self._loads[name] = Load()

    def leave(self, name: str) -> None:
        del self._loads[name]

    def well(self, name: str, slots: int) -> None:
        """Let a server get batches. If it got none before, its old speed no longer counts."""
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
        """The server for the next request; None where every well server has been tried."""
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
        """Note that a request has left a server; only an answered one shows how fast it is."""
        load, now = self._loads[name], self._clock()
        load.in_flight -= 1
        if answered:
            load.busy_s = KEEP * load.busy_s + (now - load.since)
            load.answers = KEEP * load.answers + 1
        load.since = now

    def _request_s(self, load: Load) -> float | None:
        """Seconds for each request of a server; None where they are not known."""
        waited = self._clock() - load.since
        if not load.answers or (load.in_flight == 0 and waited > FORGET_S):
            return None
        if load.in_flight:
            # A request that takes longer than those before counts now, not only once it is
            # answered.
            return max(load.busy_s / load.answers, waited)
        return load.busy_s / load.answers

    @staticmethod
    def _share(best: float | None, request_s: float | None) -> float:
        """A server's speed relative to the best one, rounded to a power of two.

        Smaller differences are chance: such servers are taken to be equally fast.
        """
        if not best or request_s is None:
            return 1.0
        return 2.0 ** round(math.log2(best / request_s))
