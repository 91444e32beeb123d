"""Errors of the stack, for the person who runs it."""


class StackError(Exception):
    """A part of the stack is missing, did not start, or died; the text says what to do."""


class DemoError(Exception):
    """A part of the demo failed; the text says which, and where its log is."""
