"""Shows that a run is under way: a line that is redrawn on a terminal, or plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TimeElapsedColumn
from rich.text import Text

LINE_SECONDS = 5.0
"""Time between two plain lines, in seconds: enough to show progress in a log, few enough to
read."""
REDRAW_SECONDS = 0.1


class _AboveText(Progress):
    """A bar with the text below it, which wraps where the terminal is narrow."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.description)


class LiveLine:
    """Writes a line about progress to stderr; a context manager.

    Args:
        total: the final count, if it is known: then a bar shows the share that is done.
        waiting: text that is shown before the first `show`.
    """

    def __init__(self, total: int | None = None, waiting: str = "") -> None:
        self._total = total
        self._start = self._last = time.monotonic()
        self._counted = 0
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            bar = SpinnerColumn() if total is None else BarColumn()
            self._progress = _AboveText(
                bar, TimeElapsedColumn(), console=Console(stderr=True), transient=True
            )
            self._task = self._progress.add_task(waiting, total=total)
        self._interval = REDRAW_SECONDS if self._progress else LINE_SECONDS

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress:
            with suppress(OSError):  # the terminal is closed: what was done is not lost with it
                self._progress.stop()

    def due(self) -> bool:
        """Whether it is time for a new line; cheap enough to be asked for every record."""
        return time.monotonic() - self._last >= self._interval

    def show(self, text: str, counted: int, completed: int | None = None) -> None:
        """Show `text`, in which `{rate}` becomes the number counted a second since the last time.

        Args:
            completed: the part of the total that is done.
        """
        now = time.monotonic()
        rate = (counted - self._counted) / max(now - self._last, 1e-9)
        self._last, self._counted = now, counted
        line = text.format(rate=f"{rate:,.0f}")
        with suppress(OSError):
            if self._progress:
                self._progress.update(self._task, completed=completed, description=line)
            else:
                print(f"{now - self._start:6.0f} s  {line}", file=sys.stderr, flush=True)
