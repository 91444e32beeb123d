"""Turning tracing on, or saying why that can't be."""

from threading import Thread
from typing import TYPE_CHECKING

from cli.app import install
from tracing.errors import TracingError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


STOP_S = 5.0
"""Time for the last spans to be sent, in seconds: a collector that is away must not hold up a
stop."""


def start_tracing(service: str) -> "TracerProvider":
    """Set OpenTelemetry up as its own environment variables (`OTEL_*`) say.

    Args:
        service: the service's name where they give none.

    Raises:
        TracingError: OpenTelemetry is not installed, or a variable asks for what is not there.
    """
    try:
        from tracing.provider import make_provider  # noqa: PLC0415 - an extra
    except ImportError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise TracingError(
            f"tracing is on, but {error.name} is not installed: {install('tracing')}, or turn "
            "tracing off"
        ) from None
    return make_provider(service)


def stop_tracing(provider: "TracerProvider | None") -> None:
    """Send what is left, for `STOP_S` at most."""
    if provider is None:
        return
    last = Thread(target=provider.shutdown, name="tracing-stop", daemon=True)
    last.start()
    last.join(STOP_S)
