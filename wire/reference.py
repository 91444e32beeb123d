"""Where an image lies that a message only refers to: an object in object storage."""

import re
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote_to_bytes

from wire.reason import ReasonError
from wire.record import ContractError

SCHEMES = ("s3", "gs", "az")
"""URL schemes that are accepted: of Amazon S3 and what speaks its protocol, of Google Cloud
Storage, and of Azure Blob Storage."""
MAX_URL = 4096
"""Bytes of a URL that is read: a key has up to 1,024, and percent-encoding triples them."""
MAX_KEY = 1024
"""Bytes of a key, as S3 and Google Cloud Storage bound it."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_OF_VERSION = {"s3": "versionId", "gs": "generation", "az": "versionId"}
"""What the URL of one version of an object names it by, in its query."""
_NO_VERSION = ("", "null")
"""What S3 calls the version of an object whose bucket keeps none."""


class BadReferenceError(ReasonError, ContractError):
    """A reference that names no object which could be fetched."""


class Reference(NamedTuple):
    """One object. Make it with `make_reference` or `parse_reference`, which check it.

    Attributes:
        scheme: one of `SCHEMES`.
        key: decoded, without a leading slash; no part of it is empty, "." or "..".
        version: the only version that is meant; None: whichever there is.
        etag: the only content that is meant, without quotes; None: whichever there is.
        size: bytes, as the message says; None where it does not.
    """

    scheme: str
    bucket: str
    key: str
    version: str | None = None
    etag: str | None = None
    size: int | None = None

    @property
    def store(self) -> str:
        """Where it lies: the scheme and the bucket, as in s3://photos."""
        return f"{self.scheme}://{self.bucket}"

    @property
    def url(self) -> str:
        """As `parse_reference` reads it, without the version; printable."""
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
    """An object by the parts of its name, the key as the store has it.

    Raises:
        BadReferenceError: they name none.
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
    """Refuse a key that a store, or what stands before it, might take for another one.

    Raises:
        BadReferenceError: it is none that can be fetched.
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
        BadReferenceError: it names no object, or none of the stores that are known here.
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
        BadReferenceError: what comes of it is not text.
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
