"""Options that the commands of this package share."""

from collections.abc import Sequence

import typer


def require_distinct(topics: Sequence[str]) -> None:
    """A usage error where one topic is to be read as two."""
    if len(set(topics)) != len(topics):
        raise typer.BadParameter("images, predictions and dead letters are three topics")
