"""CloudEvents timestamps (RFC 3339) to and from nanoseconds since the epoch."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from wire.record import ContractError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@lru_cache(256)  # the images of a batch share their times
def format_time(ns: int) -> str:
    """RFC 3339 in UTC with microseconds: 2026-01-31T12:00:00.000001Z."""
    moment = _EPOCH + timedelta(microseconds=ns // 1000)
    # Not strftime, which takes several times as long; what is cut off is the zone, +00:00.
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch; a time without a zone is taken as UTC.

    Raises:
        ContractError: not an RFC 3339 timestamp.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ContractError(f"not an RFC 3339 timestamp: {text[:40]!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND * 1000
