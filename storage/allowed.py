"""Which objects may be fetched: only those under a prefix that the operator names."""

from collections.abc import Iterable
from typing import NamedTuple

from wire.reference import (
    SCHEMES,
    BadReferenceError,
    Reference,
    check_key,
    make_reference,
    unquote_key,
)


class Allowed(NamedTuple):
    """One prefix; it matches whole parts of a key only.

    Attributes:
        parts: the first parts that a key must have; empty: any key of the bucket.
    """

    scheme: str
    bucket: str
    parts: tuple[str, ...]

    def allows(self, reference: Reference) -> bool:
        # Compared by parts: s3://photos/in is no prefix of s3://photos/internal/a.png.
        return (self.scheme, self.bucket) == (reference.scheme, reference.bucket) and tuple(
            reference.key.split("/")
        )[: len(self.parts)] == self.parts


class AllowList:
    """The prefixes under which objects may be fetched."""

    def __init__(self, prefixes: Iterable[Allowed] = ()) -> None:
        self._prefixes = tuple(prefixes)

    def __bool__(self) -> bool:
        return bool(self._prefixes)

    @property
    def stores(self) -> tuple[str, ...]:
        """The buckets of the prefixes, as in s3://photos."""
        return tuple(dict.fromkeys(f"{one.scheme}://{one.bucket}" for one in self._prefixes))

    def check(self, reference: Reference) -> None:
        """Refuse an object that may not be fetched.

        Raises:
            BadReferenceError: it may not be fetched; the text names the setting.
        """
        if any(one.allows(reference) for one in self._prefixes):
            return
        where = f"{reference.url[:200]} is not under a prefix of reference_allow"
        raise BadReferenceError(
            "not_allowed",
            f"{where}, which names what may be fetched" if self else
            f"{where}, which is empty: name the prefixes that images may be fetched from, such as "
            f"--reference-allow {reference.store}/",
        )  # fmt: skip


def parse_allowed(prefix: str) -> Allowed:
    """Read a prefix such as s3://photos/incoming/ or s3://photos.

    Raises:
        ValueError: the text is no prefix; the error says why.
    """
    scheme, mark, rest = prefix.strip().partition("://")
    if not mark or scheme not in SCHEMES:
        raise ValueError(
            f"{prefix!r} does not begin with one of {', '.join(f'{one}://' for one in SCHEMES)}"
        )
    if "?" in rest or "#" in rest:
        raise ValueError(f"{prefix!r} has a query: a prefix ends with the key")
    bucket, _, path = rest.partition("/")
    try:
        path = unquote_key(path).strip("/")
        if path:
            check_key(path)
        make_reference(scheme, bucket, path or "any")
    except BadReferenceError as error:
        raise ValueError(f"{prefix!r}: {error}") from None
    return Allowed(scheme, bucket, tuple(path.split("/")) if path else ())


def parse_allow_list(text: str) -> AllowList:
    """Read prefixes with commas between them; without any prefix nothing may be fetched.

    Raises:
        ValueError: one of them is no prefix.
    """
    return AllowList(parse_allowed(one) for one in text.split(",") if one.strip())
