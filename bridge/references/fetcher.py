"""Fetches objects on a thread and event loop of its own, many at a time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread

import structlog

from bridge.images import Publication
from bridge.kafka.assignment import Assignment
from bridge.metrics import Metrics
from bridge.references.schedule import Schedule, Task
from bridge.references.wanted import Fetched, Wanted
from storage.objects import ObjectStorage, RefusedError, UnavailableError

log = structlog.get_logger()

TIDY_S = 1.0
"""Seconds between two searches for waiting images whose partitions were revoked."""


class Fetcher:
    """Takes `Wanted` images, and gives each back once, as `Fetched`.

    Args:
        connect: makes the stores, on the fetcher's event loop.
        assignment: counts the bytes that are held.
        max_bytes: bytes of all images in flight, including fetched ones; one object may go beyond.
        max_object: most bytes of one object.
        failed: called with the error that makes it impossible to go on.
    """

    def __init__(
        self,
        connect: "Callable[[], ObjectStorage]",
        *,
        schedule: Schedule[Wanted],
        assignment: Assignment[Publication],
        metrics: Metrics,
        max_bytes: int,
        max_object: int,
        failed: Callable[[Exception], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._schedule = schedule
        self._assignment = assignment
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._max_object = max_object
        self._failed = failed
        self._monotonic = monotonic
        self._reply: Callable[[Fetched], None] | None = None
        self._loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._storage: ObjectStorage | None = None
        self._told: str | None = None
        self._thread = Thread(target=self._run, name="fetcher", daemon=True)
        self.problem: str | None = None
        """Why a store gives nothing; None while no object waits for an unavailable store."""

    def start(self, reply: Callable[[Fetched], None]) -> None:
        """Start fetching.

        Args:
            reply: called on the fetcher's thread; it may only enqueue the result.
        """
        self._reply = reply
        self._thread.start()

    def fetch(self, wanted: Sequence[Wanted]) -> None:
        """Queue these for fetching; returns at once; may be called on any thread."""
        self._loop.call_soon_threadsafe(self._add, wanted)

    def resize(self, max_bytes: int) -> None:
        """Allow this many bytes in flight from now on; may be called on any thread."""
        self._max_bytes = max_bytes
        self._turn_soon()

    def stop(self, timeout_s: float = 5) -> None:
        """End within `timeout_s` seconds; images that are not fetched by then are not given
        back."""
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:
            self._failed(error)

    async def _serve(self) -> None:
        trouble: list[Exception] = []

        def unforeseen(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
            error = context.get("exception")
            trouble.append(error if isinstance(error, Exception) else RuntimeError(str(context)))
            self._stopped.set()

        self._loop.set_exception_handler(unforeseen)
        storage = self._connect()
        try:
            await storage.connect()
            self._storage = storage  # set only when connected, since images may wait for it already
            self._turn()
            await self._stopped.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await storage.close()
        if trouble:
            raise trouble[0]

    def _add(self, wanted: Sequence[Wanted]) -> None:
        for one in wanted:
            size = one.reference.size
            if size is not None and size > self._max_object:
                self._give(one, self._too_large(one, size))
                continue
            self._schedule.add(Task(one, one.reference.store, size))
        self._turn()

    def _turn(self) -> None:
        """Start the fetches that may start now; come back when more may."""
        if self._storage is None or self._stopped.is_set():
            return
        now = self._monotonic()
        while (task := self._schedule.next(now, self._room())) is not None:
            self._hold(task.item, task.held)
            running = self._loop.create_task(self._fetch(task))
            self._tasks.add(running)
            running.add_done_callback(self._done)
        self._metrics.fetches_in_flight.set(self._schedule.in_flight)
        self._tell(self._schedule.problem)
        if not self._schedule.waiting:
            return
        if self._schedule.wants_room:
            self._assignment.when_released(self._turn_soon)
        at = self._schedule.wakes_at()
        wait = TIDY_S if at is None or at <= now else min(TIDY_S, at - now)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(wait, self._tidy)

    def _turn_soon(self) -> None:
        """Called on any thread, and perhaps after the end."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._turn)

    def _tidy(self) -> None:
        for wanted in self._schedule.discard(lambda one: one.arrival.tracker.revoked):
            self._give(wanted, None)
        self._turn()

    def _done(self, running: asyncio.Task[None]) -> None:
        self._tasks.discard(running)
        if not running.cancelled() and (error := running.exception()) is not None:
            self._loop.call_exception_handler({"message": "a fetch failed", "exception": error})
        self._turn()

    async def _fetch(self, task: Task[Wanted]) -> None:
        wanted, began = task.item, self._monotonic()
        result: bytes | Exception | None
        try:
            result = await self._read(task)
            if result is None:
                return  # it is fetched later, when there is room
        except RefusedError as error:
            result = error
        except (UnavailableError, MemoryError) as error:
            self._later(task, error)
            return
        except Exception as error:  # any error is about this object alone
            result = error
        held = task.held
        self._schedule.answered(task)
        if isinstance(result, bytes):
            self._metrics.fetched_bytes.inc(len(result))
            self._metrics.fetches.labels("ok").inc()
            self._metrics.fetch_seconds.observe(
                [self._monotonic() - began], wanted.reference.scheme
            )
        else:
            self._hold(wanted, -held)
            self._metrics.fetches.labels("refused").inc()
        self._give(wanted, result)

    async def _read(self, task: Task[Wanted]) -> bytes | RefusedError | None:
        """The object's bytes, or why it is refused; None: there is no room for it now.

        Raises:
            RefusedError: the object cannot be fetched.
            UnavailableError: its store does not give it now, but may later.
        """
        assert self._storage is not None
        wanted = task.item
        opened = await self._storage.open(wanted.reference)
        if opened.size > self._max_object:
            return self._too_large(wanted, opened.size)
        if not opened.size:
            return RefusedError("empty", f"{wanted.reference.url[:200]} has no bytes")
        held = task.held
        fits = self._schedule.grown(task, opened.size, self._room())
        self._hold(wanted, task.held - held)
        return await opened.read() if fits else None

    def _later(self, task: Task[Wanted], error: Exception) -> None:
        """Fetch again an object that its store did not give, unless it is the only one that
        fails."""
        wanted, held, now = task.item, task.held, self._monotonic()
        self._metrics.fetches.labels("transient").inc()
        busy = isinstance(error, UnavailableError) and error.busy
        text = str(error) or "no memory for it"
        again = self._schedule.failed(task, now, text, busy=busy)
        self._hold(wanted, -held)
        if not again:
            message = f"could not be fetched in {task.failures} tries, while others could: {text}"
            self._give(wanted, RefusedError("failing", message))

    def _hold(self, wanted: Wanted, more: int) -> None:
        arrival = wanted.arrival
        arrival.fetched += more
        self._assignment.resize(arrival.tracker, arrival.key, more)

    def _room(self) -> int:
        """Bytes that may be fetched: at least those of one object, whatever else is in flight, so
        that images never wait for ever for room that is taken by images behind them."""
        assignment = self._assignment
        return max(self._max_bytes - assignment.bytes, self._max_object - assignment.extra_bytes)

    def _give(self, wanted: Wanted, result: bytes | Exception | None) -> None:
        assert self._reply is not None
        self._reply(Fetched(wanted, result))

    def _too_large(self, wanted: Wanted, size: int) -> RefusedError:
        return RefusedError(
            "too_large",
            f"{wanted.reference.url[:200]} has {size:,} bytes, {self._max_object:,} are allowed",
        )

    def _tell(self, problem: str | None) -> None:
        self.problem = None if problem is None else f"not answering: {problem}"
        if problem is not None and self._told is None:
            log.warning("object_storage_unavailable", error=problem[:300])
        elif problem is None and self._told is not None:
            log.info("object_storage_answers")
        self._told = problem
