"""Errors that say why in one word, too: for metrics, and for the class of a dead letter."""


class ReasonError(Exception):
    """An error with a name for its reason.

    Attributes:
        kind: a short, fixed name for the reason, safe as a metric label.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
