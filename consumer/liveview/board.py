"""Which images are on the page, and in which place: as many as an eye can follow. Pure."""

from collections import deque

from consumer.liveview.recent import Item

PATIENCE_SECONDS = 1.0
"""Seconds after which an image without an outcome is shown as waiting; most have one by then."""


class Board:
    """A fixed number of places, filled in turn; an image keeps its place until it is replaced.

    At most `per_second` images are shown, the latest ones; the others are left out.

    Attributes:
        places: the item in each place; None: the place is empty.
        latest: number of the item that was placed last; -1: none was.
    """

    def __init__(self, size: int, per_second: float, now: float) -> None:
        self.places: list[Item | None] = [None] * size
        self.latest = -1
        self._per_second = per_second
        self._turned = now
        self._next = 0
        # No more than these can be placed at the next turn, however many come before it.
        self._settled: deque[Item] = deque(maxlen=size)
        self._arrived: deque[Item] = deque(maxlen=size)

    def arrived(self, item: Item) -> None:
        """Add an item without an outcome: it may be shown once it has waited."""
        if len(self._arrived) < (self._arrived.maxlen or 0):
            self._arrived.append(item)

    def settled(self, item: Item) -> None:
        """Note that an item has its outcome."""
        if item not in self.places:
            self._settled.append(item)

    def turn(self, now: float) -> None:
        """Place the items that came since the last turn; `now` is in seconds."""
        allowed = max(1, round((now - self._turned) * self._per_second))
        self._turned = now
        while self._arrived and now - self._arrived[0].seen >= PATIENCE_SECONDS:
            waiting = self._arrived.popleft()
            if waiting.state == "waiting":
                self._settled.append(waiting)
        for item in list(self._settled)[-allowed:]:
            self.places[self._next] = item
            self.latest = item.number
            self._next = (self._next + 1) % len(self.places)
        self._settled.clear()
