"""The errors with which the exporter ends."""


class ExportError(Exception):
    """The export cannot succeed as asked; the text says why and what to do about it."""


class ArgumentError(ExportError):
    """An argument names something that does not exist, or is not written correctly."""
