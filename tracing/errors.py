"""What can go wrong with tracing, told to the person who turns it on."""


class TracingError(Exception):
    """Tracing was asked for and cannot be had; the text says what to do."""
