"""Turning tracing on for a command."""

from typing import TYPE_CHECKING

import typer

from tracing.errors import TracingError
from tracing.start import start_tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


def traced(service: str) -> "TracerProvider":
    """Set OpenTelemetry up; a usage error where it is not there or a variable is not right."""
    try:
        return start_tracing(service)
    except TracingError as error:
        raise typer.BadParameter(str(error), param_hint="--tracing") from None
