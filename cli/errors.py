"""The error text for a wrong command line, on one line."""

from difflib import get_close_matches
from typing import Any


def one_line(error: Any) -> str:
    """The text of a usage error, with the nearest valid choice and the way to the help.

    Args:
        error: one of typer's; for a call without arguments, which has shown the help, the text is
            empty.
    """
    text = " ".join(str(error.format_message()).replace("Value error, ", "").split())
    text = text.removeprefix("Invalid value: ")
    if not text:
        return ""
    options = getattr(error, "possibilities", None)
    if options:
        text = f"{error.message}. Did you mean {' or '.join(map(repr, options))}?"
    elif near := _nearest(error):
        text = f"{text.rstrip('.')}. Did you mean {near!r}?"
    context = getattr(error, "ctx", None)
    return text if context is None else f"{text} (see {context.command_path} --help)"


def _nearest(error: Any) -> str:
    kind = getattr(getattr(error, "param", None), "type_descriptor", None)
    if kind is None or not kind.is_choice:
        return ""
    choices = [str(getattr(choice, "value", choice)) for choice in kind.choices or ()]
    given = getattr(error, "message", "").replace("Value error, ", "").split("'")[1:2]
    return next(iter(get_close_matches(given[0], choices)), "") if given else ""
