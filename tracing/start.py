"""Turns tracing on, or says why that is impossible."""

from threading import Thread
from typing import TYPE_CHECKING

from cli.app import install
from tracing.errors import TracingError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


STOP_S = 5.0
"""Seconds in which the last spans may be sent at a stop: a collector that is away must not delay
it."""


def require_tracing() -> None:
    """Check that OpenTelemetry is installed.

    Raises:
        TracingError: it is not.
    """
    try:
        import tracing.provider  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise TracingError(
            f"tracing is on, but {error.name} is not installed: {install('tracing')}, or turn "
            "tracing off"
        ) from None


def start_tracing(service: str) -> "TracerProvider":
    """Set up OpenTelemetry by its own environment variables (`OTEL_*`).

    Args:
        service: the service's name where the variables give none.

    Raises:
        TracingError: OpenTelemetry is not installed, or a variable asks for something that is
            missing.
    """
    require_tracing()
    from tracing.provider import make_provider  # noqa: PLC0415 - an extra

    return make_provider(service)


def stop_tracing(provider: "TracerProvider | None") -> None:
    """Send the spans that are left, for `STOP_S` at most."""
    if provider is None:
        return
    last = Thread(target=provider.shutdown, name="tracing-stop", daemon=True)
    last.start()
    last.join(STOP_S)
