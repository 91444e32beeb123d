"""Structured logs: one line an event, on standard error."""

import logging
import sys

import structlog

REPEAT_S = 60.0
"""Time between two lines of the same complaint of a library, in seconds."""


def configure(level: str, style: str) -> None:
    """Set up logging for the process.

    Args:
        level: debug, info, warning or error.
        style: json, console, or auto (console on a terminal, else json).
    """
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("opentelemetry").handlers = [_Forward(logging.WARNING)]


class _Forward(logging.Handler):
    """What OpenTelemetry logs, as an event of ours.

    A collector that is away is told of at each try: the same is said once in `REPEAT_S`.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = str(record.msg)  # the template, of which there are few
        if record.created - self._said.get(text, -REPEAT_S) < REPEAT_S:
            return
        self._said[text] = record.created
        structlog.get_logger().warning("tracing", error=record.getMessage()[:300])
