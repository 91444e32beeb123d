"""The place of an image that a message only refers to: an object in object storage."""

import re
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote_to_bytes

from wire.reason import ReasonError
from wire.record import ContractError

SCHEMES = ("s3", "gs", "az")
"""URL schemes that are accepted: those of Amazon S3 and stores with its protocol, of Google Cloud
Storage and of Azure Blob Storage."""
MAX_URL = 4096
"""Most bytes of a URL that is read: a key has up to 1,024, and percent-encoding triples them."""
MAX_KEY = 1024
"""Most bytes of a key; the limit of S3 and Google Cloud Storage."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_OF_VERSION = {"s3": "versionId", "gs": "generation", "az": "versionId"}
"""The query parameter of a URL that names one version of an object, by scheme."""
_NO_VERSION = ("", "null")
"""Versions that S3 reports for objects of buckets without versioning."""


class BadReferenceError(ReasonError, ContractError):
    """A reference that does not name an object that could be fetched."""


class Reference(NamedTuple):
    """One object. Make it with `make_reference` or `parse_reference`, which check it.

    Attributes:
        scheme: one of `SCHEMES`.
        key: decoded, without a leading slash; no part of it is empty, "." or "..".
        version: the only version that is meant; None: any version.
        etag: the only content that is meant, by its etag without quotes; None: any content.
        size: bytes, as the message gives it; None where it does not.
    """

    scheme: str
    bucket: str
    key: str
    version: str | None = None
    etag: str | None = None
    size: int | None = None

    @property
    def store(self) -> str:
        """The store of the object: the scheme and the bucket, as in s3://photos."""
        return f"{self.scheme}://{self.bucket}"

    @property
    def url(self) -> str:
        """Its URL, as `parse_reference` reads it, without the version; printable."""
        return f"{self.store}/{''.join(map(_readable, self.key))}"


def _readable(char: str) -> str:
    return quote(char, safe="") if char in "%?#" or not char.isprintable() else char


def make_reference(
    scheme: str,
    bucket: str,
    key: str,
    *,
    version: str | None = None,
    etag: str | None = None,
    size: int | None = None,
) -> Reference:
    """Make a reference from its parts, with the key as the store has it.

    Raises:
        BadReferenceError: the parts do not name an object.
    """
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise BadReferenceError("reference", f"{bucket[:80]!r} is not the name of a bucket")
    key = key.removeprefix("/")
    check_key(key)
    if version in _NO_VERSION:
        version = None
    etag = (etag or "").strip('"')
    for name, text in (("version", version or ""), ("ETag", etag)):
        if len(text) > MAX_KEY or not (text.isascii() and text.isprintable()) or '"' in text:
            raise BadReferenceError("reference", f"the {name} is not one: {text[:80]!r}")
    return Reference(scheme, bucket, key, version, etag or None, size)


def check_key(key: str) -> None:
    """Refuse a key that a store, or a server in front of it, might take for another one.

    Raises:
        BadReferenceError: the key cannot be fetched.
    """
    size = len(key.encode(errors="surrogatepass"))
    if not 0 < size <= MAX_KEY:
        raise BadReferenceError("reference", f"a key has 1 to {MAX_KEY} bytes, this one {size:,}")
    if any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in key):
        raise BadReferenceError("reference", f"a key with control characters: {key[:80]!r}")
    parts = key.split("/")
    if "" in parts[:-1] or not parts[-1]:
        raise BadReferenceError("reference", f"a key with an empty part: {key[:80]!r}")
    if "." in parts or ".." in parts:
        raise BadReferenceError("reference", f'a key with "." or ".." in it: {key[:80]!r}')


def parse_reference(url: str, *, etag: str | None = None) -> Reference:
    """Read a URL such as s3://photos/2026/a%20b.jpg?versionId=3.

    Raises:
        BadReferenceError: the URL names no object, or an unknown kind of store.
    """
    if len(url.encode(errors="surrogatepass")) > MAX_URL:
        raise BadReferenceError("reference", f"a reference of more than {MAX_URL} bytes")
    match = _URL.fullmatch(url)
    if match is None:
        raise BadReferenceError(
            "reference", f"{url[:80]!r} is not a URL such as s3://bucket/key: it names no store"
        )
    scheme, rest = match[1].lower(), match[2]
    if scheme not in SCHEMES:
        raise BadReferenceError(
            "not_allowed",
            f"objects are fetched by {', '.join(f'{one}://' for one in SCHEMES)} alone, not by "
            f"{scheme[:20]}: ({url[:80]!r})",
        )
    if not rest.startswith("//"):
        raise BadReferenceError("reference", f"{url[:80]!r} has no // behind {scheme}:")
    rest = rest[2:].partition("#")[0]
    rest, _, query = rest.partition("?")
    bucket, _, path = rest.partition("/")
    return make_reference(
        scheme, bucket, unquote_key(path), version=_version(scheme, query), etag=etag
    )


def unquote_key(path: str) -> str:
    """Undo percent-encoding, once.

    Raises:
        BadReferenceError: the result is not text.
    """
    try:
        return unquote_to_bytes(path).decode()
    except UnicodeError:
        raise BadReferenceError("reference", f"a key that is not UTF-8: {path[:80]!r}") from None


def _version(scheme: str, query: str) -> str | None:
    name = _OF_VERSION[scheme]
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=1) if query else {}
    except ValueError:
        fields = {query: []}
    if fields.keys() - {name}:
        raise BadReferenceError(
            "reference", f"a reference may say ?{name}= and nothing else, not {query[:40]!r}"
        )
    return fields[name][0] if name in fields else None
