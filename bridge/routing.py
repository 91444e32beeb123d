"""Which topic a prediction goes to: by its label, or by a header of the image. Pure."""

from collections.abc import Mapping

from bridge.tasks.task import Heads, Result
from wire.answers import Detections
from wire.record import Headers

LABEL = "label"
HEADER = "header:"


class Routes:
    """The topics that predictions may go to.

    Args:
        default: topic of predictions without a route of their own.
        by: `label` (the first one of an answer) or `header:NAME`.
        topics: topic by label, or by the header's value.
    """

    def __init__(self, default: str, by: str = LABEL, topics: Mapping[str, str] = {}) -> None:
        self.default = default
        self._header = by.removeprefix(HEADER) if by.startswith(HEADER) else None
        self._topics = dict(topics)

    def topic(self, result: Result, headers: Headers | None) -> str:
        """The topic that a prediction goes to."""
        if not self._topics:
            return self.default
        value = first_label(result) if self._header is None else self._header_of(headers)
        return self.default if value is None else self._topics.get(value, self.default)

    def _header_of(self, headers: Headers | None) -> str | None:
        for name, value in headers or ():
            if name == self._header and value is not None:
                return value.decode(errors="replace")
        return None


def first_label(result: Result) -> str | None:
    """The best class, or the class of the surest object; None where there is none."""
    if isinstance(result, tuple):
        return result[0]["label"] if result else None
    if isinstance(result, Heads):
        return first_label(tuple(result.heads[0]["top"]))
    if isinstance(result, Detections):
        return result.found[0]["label"] if result.found else None
    return None
