"""Fetches pictures from object storage when a page asks for them; they are not kept."""

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cli.app import install
from storage.allowed import AllowList, parse_allow_list
from storage.objects import ObjectStorage, RefusedError, StoreSettingError, UnavailableError
from wire.reference import BadReferenceError, Reference

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FETCHES = 4
"""Most objects that are fetched at a time: together with `max_bytes`, this bounds their memory."""
TIMEOUT_S = 10.0


class Objects:
    """Fetches the objects that are allowed. Everything is for one event loop.

    Args:
        max_bytes: most bytes of a picture; a larger one is not read.
        connect: makes the client; called once, at the first picture.
    """

    def __init__(
        self, allowed: AllowList, max_bytes: int, connect: "Callable[[], ObjectStorage]"
    ) -> None:
        self._allowed = allowed
        self._max_bytes = max_bytes
        self._connect = connect
        self._connecting = asyncio.Lock()
        self._storage: ObjectStorage | None = None
        self._free = asyncio.Semaphore(MAX_FETCHES)

    async def fetch(self, reference: Reference) -> bytes | None:
        """The object's bytes; None: it cannot or may not be fetched."""
        try:
            self._allowed.check(reference)
            async with self._free:
                opened = await (await self._connected()).open(reference)
                return None if opened.size > self._max_bytes else await opened.read()
        except (BadReferenceError, RefusedError, StoreSettingError, UnavailableError):
            return None

    async def _connected(self) -> ObjectStorage:
        async with self._connecting:
            if self._storage is None:
                storage = self._connect()
                await storage.connect()
                self._storage = storage
            return self._storage


def make_objects(prefixes: str, max_bytes: int) -> Objects | None:
    """A fetcher for the objects under these prefixes; None where there are no prefixes.

    Raises:
        ValueError: a prefix is invalid, or the client of object stores is not installed.
    """
    allowed = parse_allow_list(prefixes)
    if not allowed:
        return None
    if find_spec("obstore") is None:
        raise ValueError(f"it needs obstore, which is not installed: {install('references')}")
    from storage.client import Objects as Client  # noqa: PLC0415 - of an extra

    return Objects(allowed, max_bytes, lambda: Client(allowed.stores, TIMEOUT_S))
