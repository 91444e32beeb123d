"""What the exporter says when it can't go on."""


class ExportError(Exception):
    """An export that can't succeed as asked; the text says why and what to do about it."""


class ArgumentError(ExportError):
    """What was asked for is nothing that there is, or not written as it has to be."""
