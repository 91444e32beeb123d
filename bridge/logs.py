"""Structured logs: one line an event, on standard error."""

import logging
import sys

import structlog


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
    # OpenTelemetry says by itself what it can't send; it repeats nothing within 20 s.
    logging.getLogger("opentelemetry").handlers = [_Forward(logging.WARNING)]


class _Forward(logging.Handler):
    """What a library logs, as an event of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().warning("tracing", error=record.getMessage()[:300])
