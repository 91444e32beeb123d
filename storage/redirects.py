"""Keeps the client of object stores from following a redirect to another host.

Clients follow redirects, as Amazon's regions need, and cannot be told not to. But with a proxy,
they use it for every host that is not excluded. So a proxy is set that refuses everything, and the
store's own hosts are excluded.
"""

import asyncio
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

REFUSAL = "redirected to another host, which is not followed"
_HEAD = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(REFUSAL)}\r\nConnection: close\r\n\r\n"
_ANSWER = f"{_HEAD}{REFUSAL}".encode()
_MAX_HEAD = 1 << 14
_HEAD_S = 5.0

_HOSTS = {
    "s3": (".amazonaws.com", ".amazonaws.com.cn"),
    "gs": (".googleapis.com",),
    "az": (".core.windows.net", ".core.chinacloudapi.cn", ".core.usgovcloudapi.net",
           "login.microsoftonline.com"),
}  # fmt: skip
"""Hosts of the stores, and hosts where their clients get credentials."""
_CREDENTIALS = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "metadata.google.internal")
"""Where a machine in a cloud gets credentials, over plain HTTP. A client that uses HTTPS for its
store refuses a redirect to plain HTTP."""
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")


def has_proxy(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the operator's own proxy is used; then that proxy decides what can be reached."""
    return any(environment.get(name) for name in _PROXIES)


def own_hosts(
    scheme: str, *, plain_http: bool, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """The hosts that a store's client needs, in the form of `NO_PROXY`.

    Args:
        plain_http: whether the store may be asked without TLS.
    """
    endpoints = [environment[name] for name in _ENDPOINTS[scheme] if environment.get(name)]
    hosts = [urlsplit(one).hostname for one in endpoints]
    own = tuple(name for host in hosts if host for name in (host, f".{host}"))
    if plain_http:
        return own or _HOSTS[scheme]
    return (*own, *_HOSTS[scheme], *_CREDENTIALS)


class RefusingProxy:
    """A proxy on loopback that refuses every request."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._refuse, "127.0.0.1", limit=_MAX_HEAD)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @staticmethod
    async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_S)
            writer.write(_ANSWER)
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client sent no complete request
        finally:
            writer.close()
