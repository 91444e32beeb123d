"""Unforeseen errors that one image caused: logged once for each kind, with a traceback."""

import traceback
from collections.abc import Callable
from typing import TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")

MAX_KINDS = 256
"""Kinds of errors that are told apart. The number is bounded because the images of strangers may
cause many kinds."""


class Unforeseen:
    """Notes errors that one image caused, so that only that image fails and not the service."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, str]] = set()

    def note(self, stage: str, error: Exception) -> str:
        """Log an error, the first of its kind with its traceback; returns one line about it.

        Raises:
            MemoryError: the error is one, which says nothing about the image.
        """
        if isinstance(error, MemoryError):
            raise error
        name = type(error).__name__
        line = f"{name}: {_text(error)}"
        frames = traceback.extract_tb(error.__traceback__)
        kind = (stage, name, f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "")
        if kind not in self._known and len(self._known) < MAX_KINDS:
            self._known.add(kind)
            log.error("unforeseen_error", stage=stage, error=line[:500], exc_info=error)
        return line

    def shield(self, stage: str, call: Callable[[], T], default: T) -> T:
        """What `call` returns, or `default` where it raises. For reports that an image can do
        without."""
        try:
            return call()
        except Exception as error:
            self.note(stage, error)
            return default


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        return "(it cannot say what it is)"
