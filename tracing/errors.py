"""Errors of tracing, for the person who turns it on."""


class TracingError(Exception):
    """Tracing was asked for but cannot be turned on; the text says what to do."""
