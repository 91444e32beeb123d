"""An object store in memory, held to the contract of the real one; it fails as it is told."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from storage.objects import RefusedError, UnavailableError
from wire.reference import Reference


@dataclass
class Opened:
    content: bytes
    fail: Exception | None = None

    @property
    def size(self) -> int:
        return len(self.content)

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail
        return self.content


@dataclass
class MemoryObjects:
    """Objects by store and key.

    Attributes:
        before: called with each object that is asked for; what it raises is what becomes of it.
        reading: the same, while its content is read.
        asked: every object that was asked for.
        most: so many were asked for at a time.
    """

    contents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    before: Callable[[Reference], None] | None = None
    reading: Callable[[Reference], None] | None = None
    asked: list[Reference] = field(default_factory=list)
    most: int = 0
    connected: bool = False
    open_now: int = 0

    def put(self, store: str, key: str, content: bytes) -> str:
        """Store an object; returns its ETag."""
        self.contents[store, key] = content
        return etag(content)

    async def connect(self) -> None:
        for _ in range(100):  # as long as a real one, which opens a socket
            await asyncio.sleep(0)
        self.connected = True

    async def close(self) -> None:
        pass

    async def open(self, reference: Reference) -> Opened:
        assert self.connected
        self.asked.append(reference)
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        try:
            await asyncio.sleep(0)
            if self.before is not None:
                self.before(reference)
        finally:
            self.open_now -= 1
        content = self.contents.get((reference.store, reference.key))
        if content is None:
            raise RefusedError("not_found", f"{reference.url}: 404 Not Found")
        if reference.etag not in (None, etag(content)):
            raise RefusedError("changed", f"{reference.url}: 412 Precondition Failed")
        fail: Exception | None = None
        if self.reading is not None:
            try:
                self.reading(reference)
            except UnavailableError as error:
                fail = error
        return Opened(content, fail)


def etag(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 - as S3 does
