"""How a run shows that it is under way: a bar on a terminal, a plain line now and then elsewhere"""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_SECONDS = 5.0
"""Between two plain lines: enough to see life in a log, few enough to read it."""
BAR_SECONDS = 0.1


class RunProgress:
    """Writes to stderr; `update` is cheap enough to be called for every image."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._start = self._last = time.monotonic()
        self._last_sent = 0
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("sending", total=total, note="")
        self._interval = BAR_SECONDS if self._bar else LINE_SECONDS

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, activity: str, sent: int, acknowledged: int, resolved: int | None) -> None:
        """Args: resolved: images with a known outcome; None: nobody listens for results."""
        now = time.monotonic()
        if now - self._last < self._interval:
            return
        rate = (sent - self._last_sent) / (now - self._last)
        self._last, self._last_sent = now, sent
        note = f"{rate:,.0f} images/s, {acknowledged:,} acknowledged"
        if resolved is not None:
            note += f", {resolved:,} resolved"
        if self._bar:
            self._bar.update(self._task, completed=sent, description=activity, note=note)
        else:
            of = "" if self._total is None else f" of {self._total:,}"
            line = f"{now - self._start:6.0f} s  {activity}: {sent:,}{of} sent, {note}"
            print(line, file=sys.stderr, flush=True)
