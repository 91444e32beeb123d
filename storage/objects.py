"""What an object store must be able to do, and how it fails."""

from typing import Protocol

from wire.reason import ReasonError
from wire.reference import Reference


class RefusedError(ReasonError):
    """An object that can never be fetched; the text says why."""


class UnavailableError(Exception):
    """The store does not give an object now; this says nothing about the object.

    Attributes:
        busy: whether the store asks for fewer requests, and so is otherwise well.
    """

    def __init__(self, message: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.busy = busy


class StoreSettingError(Exception):
    """The environment's settings for a store cannot work."""


class OpenObject(Protocol):
    """An object whose store has answered, and whose content is still on its way."""

    @property
    def size(self) -> int:
        """Size of the object in bytes."""
        ...

    async def read(self) -> bytes:
        """Read the whole content of the object.

        Raises:
            UnavailableError: the content did not arrive completely.
        """
        ...


class ObjectStorage(Protocol):
    """Reads objects. Everything is for one event loop."""

    async def connect(self) -> None:
        """Must be called first; no store is asked yet."""
        ...

    async def open(self, reference: Reference) -> OpenObject:
        """Ask for one object; content that is not read is dropped with the result.

        Raises:
            RefusedError: the object does not exist, may not be read, or is no longer the one meant.
            UnavailableError: the store does not answer now.
        """
        ...

    async def close(self) -> None: ...
