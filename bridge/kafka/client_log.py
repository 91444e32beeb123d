"""The log lines of Kafka's own client, among those of the bridge."""

import logging
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

REPEAT_S = 10.0
"""Time between two warnings of librdkafka about the same, in seconds; what comes in between is a
debug line."""


class KafkaLog:
    """Takes librdkafka's own log lines into the bridge's log.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[str, float] = {}

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Called on any thread; `level` is one of the standard library's."""
        text = message % arguments if arguments else message
        facility = text.partition(" ")[0]  # "OFFSET [client] ...": from a fixed set
        now = self._clock()
        if level >= logging.WARNING and now - self._said.get(facility, -REPEAT_S) >= REPEAT_S:
            self._said[facility] = now
            log.warning("librdkafka", level=level, message=text[:500])
        else:
            log.debug("librdkafka", level=level, message=text[:500])
