"""Errors with a short name for the reason, used in metrics and as a dead letter's class."""


class ReasonError(Exception):
    """An error with a name for its reason.

    Attributes:
        kind: a short, fixed name for the reason, safe as a metric label.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
