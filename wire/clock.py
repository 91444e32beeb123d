"""CloudEvents timestamps (RFC 3339) to and from nanoseconds since the epoch."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from wire.record import ContractError, KafkaRecord

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LATEST_NS = 1 << 62
"""Latest time that is believed, in the year 2116. A time outside 1970 to then is none at which
anything was sent; within it, a time and the difference of two fit into 64 bits, and every writer
and reader relies on that."""

_LEAP_SECOND = re.compile(r"(:\d\d):60(?=[.Z+-]|$)")
_YEAR_0 = "0000-"


@lru_cache(256)  # the images of a batch share their times
def format_time(ns: int) -> str:
    """RFC 3339 in UTC with microseconds: 2026-01-31T12:00:00.000001Z."""
    moment = _EPOCH + timedelta(microseconds=ns // 1000)
    # strftime would take several times as long; the part that is cut off is the zone, +00:00.
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch; a time without a zone is taken as UTC.

    Any year from 0 to 9999 is read: check with `is_believable` before the number is used as 64
    bits.

    Raises:
        ContractError: the text is no RFC 3339 timestamp.
    """
    try:
        return _parse(text)
    except ValueError:
        pass
    # RFC 3339 allows, but Python does not read, a small t or z, a leap second and the year 0.
    plain, leaps = _LEAP_SECOND.subn(r"\1:59", text.upper())
    try:
        if plain.startswith(_YEAR_0):
            _parse("0004-" + plain.removeprefix(_YEAR_0))  # year 4 is a leap year, like year 0
            return -LATEST_NS
        return _parse(plain) + leaps * 1_000_000_000
    except ValueError:
        raise ContractError(f"not an RFC 3339 timestamp: {text[:40]!r}") from None


def _parse(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def is_believable(ns: int) -> bool:
    """Whether something can have happened at this time; 0 means that a time is not known."""
    return 0 < ns < LATEST_NS


def bounded_time(ns: int) -> int:
    """A time written by a stranger, limited to 0 to `LATEST_NS`."""
    return min(max(ns, 0), LATEST_NS)


def kafka_time(record: KafkaRecord) -> int:
    """Kafka's own timestamp of a record in epoch nanoseconds; 0 where there is none to believe."""
    ns = record.timestamp()[1] * 1_000_000
    return ns if is_believable(ns) else 0
