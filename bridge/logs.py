"""Structured logs: one line for each event, on standard error."""

import logging
import sys
from threading import Lock

import structlog

from bridge.repeats import Repeats

ABOUT = (
    "event", "status", "code", "kind", "reason", "facility", "stage", "server", "host", "topic",
    "partition",
)  # fmt: skip
"""Fields by which complaints are told apart. The message is not one: it may differ each time."""


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
            *([] if level == "debug" else [_Once()]),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("opentelemetry").handlers = [_Forward(logging.WARNING)]


class _Once:
    """Passes on a repeated warning once a minute, with the number of times that it was left out."""

    def __init__(self) -> None:
        self._repeats = Repeats()
        self._lock = Lock()

    def __call__(
        self, _logger: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        if method != "warning":
            return event
        about = [str(event.get(name)) for name in ABOUT]
        if str(event["event"]).startswith("waiting_for"):
            about.append(str(event.get("error")))  # the reason for waiting may change
        with self._lock:
            unsaid = self._repeats.unsaid(tuple(about))
        if unsaid is None:
            raise structlog.DropEvent
        return {**event, "repeated": unsaid} if unsaid else event


class _Forward(logging.Handler):
    """Logs OpenTelemetry's messages as events of ours; of a collector that is away, at each try."""

    def emit(self, record: logging.LogRecord) -> None:
        # `msg` is the template, of which there are few.
        log = structlog.get_logger()
        log.warning("tracing", reason=str(record.msg), error=record.getMessage()[:300])
