"""Which object is fetched next, and what a failed fetch means. Pure: the caller passes the time."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bridge.backoff import Backoff

T = TypeVar("T")

MAX_FETCHES = 128
"""Most objects fetched at a time: a store that takes 50 ms to answer then gives 2,500 a second."""
FIRST_GUESS = 64 << 10
"""Bytes that an object of unknown size is assumed to have until one was fetched; the assumed size
never exceeds the largest allowed one."""
GIVE_UP_S = 60.0
"""Seconds after its first failure before which no object is given up, so that an unsteady network
costs no image."""


@dataclass(slots=True, eq=False)
class Task(Generic[T]):
    """An object to be fetched.

    Attributes:
        store: the store that holds it; failures are counted for each store.
        size: its size in bytes; None while it is unknown.
        held: bytes of room that it was given while it is being fetched.
        failures: failures of this object alone: others of its store were fetched in between.
    """

    item: T
    store: str
    size: int | None = None
    held: int = 0
    failures: int = 0
    failed_at: float | None = None
    fetched_before: int = 0


@dataclass(slots=True)
class _Store(Generic[T]):
    backoff: Backoff
    limit: int
    waiting: deque[Task[T]] = field(default_factory=deque)
    in_flight: int = 0
    fetched: int = 0
    not_before: float = 0.0
    problem: str | None = None


class Schedule(Generic[T]):
    """Objects in the order in which they came, many at a time, as bytes and stores allow.

    A store that fails is left alone for a while, and then asked for one object at a time until it
    gives one. An object that fails while others of its store are fetched is put behind them, and
    given up after `max_failures` such failures. While its store gives nothing, its failures are
    not counted.
    """

    def __init__(
        self,
        *,
        retry_min_s: float,
        retry_max_s: float,
        max_failures: int,
        max_object: int,
        max_fetches: int = MAX_FETCHES,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._retry = (retry_min_s, retry_max_s, rng)
        self._max_failures = max_failures
        self._max_fetches = max_fetches
        self._stores: dict[str, _Store[T]] = {}
        self._guess = min(FIRST_GUESS, max_object)
        self.in_flight = 0
        self.wants_room = False
        """Whether the last `next` left an object waiting because there was no room for it."""

    @property
    def waiting(self) -> int:
        return sum(len(store.waiting) for store in self._stores.values())

    @property
    def problem(self) -> str | None:
        """Why a store gives nothing although objects of it are waited for; None: no store is so."""
        for store in self._stores.values():
            if store.problem is not None and (store.waiting or store.in_flight):
                return store.problem
        return None

    def add(self, task: Task[T]) -> None:
        self._store(task.store).waiting.append(task)

    def _store(self, name: str) -> _Store[T]:
        if name not in self._stores:
            self._stores[name] = _Store(Backoff(*self._retry), self._max_fetches)
        return self._stores[name]

    def next(self, now: float, room: int) -> Task[T] | None:
        """The next object to fetch, counted as in flight; None while there is none.

        Args:
            room: bytes that may still be fetched.
        """
        self.wants_room = False
        if self.in_flight >= self._max_fetches:
            return None
        for store in self._stores.values():
            if not store.waiting or store.in_flight >= store.limit or now < store.not_before:
                continue
            if store.backoff.failures and store.in_flight:
                continue
            held = self._guess if store.waiting[0].size is None else store.waiting[0].size
            if held > room:
                self.wants_room = True
                continue
            task = store.waiting.popleft()
            task.held, task.fetched_before = held, store.fetched
            store.in_flight += 1
            self.in_flight += 1
            return task
        return None

    def wakes_at(self) -> float | None:
        """Monotonic seconds when the next store may be asked; None: no store waits for a time."""
        waits = [store.not_before for store in self._stores.values() if store.waiting]
        return min(waits, default=None)

    def grown(self, task: Task[T], size: int, room: int) -> bool:
        """Note the size that the store reports; False: the object must wait until there is room."""
        more = size - task.held
        self._guess = max(size, self._guess - self._guess // 64)
        if more > room:
            self._ended(task)
            task.size = size
            self._store(task.store).waiting.appendleft(task)
            return False
        task.held = task.size = size
        return True

    def answered(self, task: Task[T]) -> None:
        """Note that an object was fetched, or refused for good: its store is well."""
        store = self._ended(task)
        store.fetched += 1
        store.backoff.reset()
        store.not_before, store.problem = 0.0, None
        store.limit = min(self._max_fetches, store.limit + 1)

    def failed(self, task: Task[T], now: float, why: str, *, busy: bool) -> bool:
        """Note that a store did not give an object; False: the object is given up.

        Args:
            busy: whether the store reports too many requests.
        """
        store = self._ended(task)
        others_fetched = store.fetched > task.fetched_before
        if others_fetched and not busy:
            task.failures += 1
        task.failed_at = now if task.failed_at is None else task.failed_at
        if task.failures >= self._max_failures and now - task.failed_at >= GIVE_UP_S:
            return False
        if now >= store.not_before:  # several failed requests of one outage count as one
            store.not_before = now + store.backoff.next_wait()
            store.limit = max(1, store.limit // 2)
        store.problem = why
        if task.failures:
            store.waiting.append(task)
        else:
            store.waiting.appendleft(task)
        return True

    def _ended(self, task: Task[T]) -> _Store[T]:
        store = self._stores[task.store]
        store.in_flight -= 1
        self.in_flight -= 1
        task.held = 0
        return store

    def discard(self, gone: Callable[[T], bool]) -> list[T]:
        """Take the objects that nobody needs any more out of what waits; returns them."""
        found: list[T] = []
        for store in self._stores.values():
            if ours := [task for task in store.waiting if gone(task.item)]:
                found += [task.item for task in ours]
                store.waiting = deque(task for task in store.waiting if not gone(task.item))
        return found
