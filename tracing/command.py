"""Turns tracing on for a command."""

from typing import TYPE_CHECKING

import typer

from tracing.errors import TracingError
from tracing.start import start_tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


def traced(service: str) -> "TracerProvider":
    """Set up OpenTelemetry; a usage error where it is not installed or a variable is wrong."""
    try:
        return start_tracing(service)
    except TracingError as error:
        raise typer.BadParameter(str(error), param_hint="--tracing") from None
