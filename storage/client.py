"""Reading objects of S3, Google Cloud Storage and Azure, with obstore (Rust's object_store).

Credentials, region and endpoint come from each store's own environment variables, such as
AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL.
"""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import obstore
from obstore.exceptions import BaseError, InvalidPathError, NotSupportedError
from obstore.store import AzureStore, GCSStore, S3Store

from storage.objects import RefusedError, StoreSettingError, UnavailableError
from storage.redirects import REFUSAL, RefusingProxy, has_proxy, own_hosts
from wire.reference import Reference

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_PLAIN_HTTP = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}
"""The client's own variable that allows requests without TLS, by scheme."""
CONNECT_S = 5.0
_STATUS = re.compile(r"status code: (\d{3})([^:<\n]*)")
_CODE = re.compile(r"<Code>([^<]{1,80})</Code>")
_MAX_TEXT = 300
_WAITED_FOR = frozenset(
    {
        "ExpiredToken", "InvalidAccessKeyId", "InternalError", "RequestTimeout",
        "RequestTimeTooSkewed", "SignatureDoesNotMatch", "SlowDown", "ThrottlingException",
        "TokenRefreshRequired",
    }
)  # fmt: skip
"""Error codes that say nothing about the object, whatever the status: they are about credentials,
clocks or load."""
_BUSY = frozenset({"SlowDown", "ThrottlingException", "ServerBusy"})


class Objects:
    """The stores of a list of buckets.

    Args:
        stores: buckets such as s3://photos; no other bucket is ever asked.
        timeout_s: bound on one request and its whole answer, in seconds.
    """

    def __init__(self, stores: tuple[str, ...], timeout_s: float) -> None:
        self._names = stores
        self._timeout_s = timeout_s
        self._proxy = RefusingProxy()
        self._stores: dict[str, ObjectStore] = {}

    async def connect(self) -> None:
        """Make the clients; no store is asked yet.

        Raises:
            StoreSettingError: a client cannot be made.
        """
        if not has_proxy():
            await self._proxy.start()
        for name in self._names:
            scheme, _, bucket = name.partition("://")
            try:
                self._stores[name] = self._make(scheme, bucket)
            except (BaseError, ValueError, TypeError) as error:
                raise StoreSettingError(f"{name}: {_first_line(error)}") from None

    def _make(self, scheme: str, bucket: str) -> "ObjectStore":
        plain_http = os.environ.get(_PLAIN_HTTP[scheme], "").lower() in ("1", "true", "yes", "on")
        options: ClientConfig = {
            "allow_http": plain_http,
            "timeout": timedelta(seconds=self._timeout_s),
            "connect_timeout": timedelta(seconds=min(CONNECT_S, self._timeout_s)),
            "user_agent": "triton-kafka-bridge",
        }
        if self._proxy.url:
            options["proxy_url"] = self._proxy.url
            options["proxy_excludes"] = ",".join(own_hosts(scheme, plain_http=plain_http))
        # The caller retries, as it knows what else waits.
        retry: RetryConfig = {"max_retries": 0}
        if scheme == "s3":
            return S3Store(bucket, client_options=options, retry_config=retry)
        if scheme == "gs":
            return GCSStore(bucket, client_options=options, retry_config=retry)
        return AzureStore(bucket, client_options=options, retry_config=retry)

    async def close(self) -> None:
        await self._proxy.close()

    async def open(self, reference: Reference) -> "_Opened":
        store = self._stores[reference.store]
        options: GetOptions = {}
        if reference.version is not None:
            options["version"] = reference.version
        elif reference.etag is not None:
            options["if_match"] = f'"{reference.etag}"'
        try:
            result = await obstore.get_async(store, reference.key, options=options)
        except (BaseError, OSError, ValueError) as error:
            _raise(error, reference)
        return _Opened(result, reference)

    async def write(self, reference: Reference, content: bytes) -> None:
        """Store an object, or replace it.

        Raises:
            RefusedError: the store refuses it.
            UnavailableError: the store does not answer.
        """
        try:
            await obstore.put_async(self._stores[reference.store], reference.key, content)
        except (BaseError, OSError, ValueError) as error:
            _raise(error, reference)


class _Opened:
    def __init__(self, result: "GetResult", reference: Reference) -> None:
        self._result = result
        self._reference = reference
        self.size: int = result.meta["size"]

    async def read(self) -> bytes:
        try:
            content = bytes(await self._result.bytes_async())
        except (BaseError, OSError, ValueError) as error:
            _raise(error, self._reference)
        if len(content) != self.size:
            raise UnavailableError(f"{len(content):,} of {self.size:,} bytes came")
        return content


def _raise(error: Exception, reference: Reference) -> NoReturn:
    """Raise the error that an error of the client stands for.

    Raises:
        RefusedError: this object can never be fetched.
        UnavailableError: the error says nothing about the object.
    """
    text = str(error)
    where = f"{reference.url[:200]}: {_first_line(error)}"
    if REFUSAL in text or "TunnelUnsuccessful" in text:
        raise RefusedError("redirected", f"{reference.url[:200]}: {REFUSAL}") from None
    if isinstance(error, InvalidPathError | NotSupportedError | ValueError):
        raise RefusedError("reference", where) from None
    found, named = _STATUS.search(text), _CODE.search(text)
    code = named[1] if named else ""
    status = int(found[1]) if found else 0
    if code in _WAITED_FOR or status in (0, 401, 408, 429) or status >= 500:
        raise UnavailableError(where, busy=code in _BUSY or status == 429) from None
    raise RefusedError(_KINDS.get(status, "refused"), where) from None


_KINDS: Mapping[int, str] = {
    403: "forbidden",
    404: "not_found",
    405: "not_found",  # the version is the marker of a deleted object
    410: "not_found",
    412: "changed",
}


def _first_line(error: Exception) -> str:
    """The first line of an error, without the client's debug output."""
    text = str(error).partition("\n\nDebug source")[0]
    _, mark, behind = text.partition(" - ")
    text = behind if mark else text
    found, code = _STATUS.search(text), _CODE.search(text)
    if found:
        text = f"{found[1]}{found[2].rstrip()}" + (f" ({code[1]})" if code else "")
    elif reason := re.search(r"ConnectionRefused|ConnectionReset|TimedOut|dns error", str(error)):
        text = f"{text.strip()}: {reason[0]}"
    return " ".join(text.split())[:_MAX_TEXT]
