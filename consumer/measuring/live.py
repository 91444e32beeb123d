"""The line that shows a run under way: redrawn on a terminal, printed now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from consumer.measuring.matching import Matcher

LINE_SECONDS = 5.0
"""Between two plain lines: enough to see life in a log, few enough to read it."""
STATUS_SECONDS = 0.2


class LiveLine:
    """Writes to stderr; `show` is cheap enough to be called for every record."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._answered = 0
        self._status: Status | None = None
        if sys.stderr.isatty():
            self._status = Console(stderr=True).status("waiting for the first record")
        self._interval = STATUS_SECONDS if self._status else LINE_SECONDS

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status:
            self._status.stop()

    def show(self, matcher: Matcher) -> None:
        now = time.monotonic()
        if now - self._last < self._interval:
            return
        rate = (matcher.answered - self._answered) / (now - self._last)
        self._last, self._answered = now, matcher.answered
        line = (
            f"{now - self._start:6.0f} s  {matcher.sent:,} sent, {matcher.answered:,} answered"
            f" ({rate:,.0f}/s), {matcher.dead_lettered:,} dead-lettered, {matcher.missing:,}"
            f" outstanding, {matcher.duplicates:,} duplicates"
        )
        if self._status:
            self._status.update(line)
        else:
            print(line, file=sys.stderr, flush=True)
