"""The line that shows a measurement under way."""

from cli.progress import LiveLine
from consumer.measuring.matching import Matcher


def show(live: LiveLine, matcher: Matcher) -> None:
    """Update the line when it is due; cheap enough to be called for every record."""
    if live.due():
        expired = f"{matcher.expired:,} expired, " if matcher.expired else ""
        live.show(
            f"{matcher.sent:,} sent, {matcher.answered:,} answered ({{rate}}/s), "
            f"{matcher.dead_lettered:,} dead-lettered, {expired}{matcher.missing:,} outstanding, "
            f"{matcher.duplicates:,} duplicates",
            counted=matcher.answered,
        )
