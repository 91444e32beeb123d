"""What an object store must be able to do, and how it fails."""

from typing import Protocol

from wire.reason import ReasonError
from wire.reference import Reference


class RefusedError(ReasonError):
    """An object that can never be had; the text says why."""


class UnavailableError(Exception):
    """The store does not give an object just now, which says nothing about the object.

    Attributes:
        busy: it asks for fewer requests, and so is well.
    """

    def __init__(self, message: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.busy = busy


class StoreSettingError(Exception):
    """What the environment says of a store cannot work."""


class OpenObject(Protocol):
    """An object whose store has answered, and whose content is still on its way."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    async def read(self) -> bytes:
        """All of its content.

        Raises:
            UnavailableError: it did not come whole.
        """
        ...


class ObjectStorage(Protocol):
    """Where objects are read. All of it is for one event loop."""

    async def connect(self) -> None:
        """To be called first; it asks nothing of a store yet."""
        ...

    async def open(self, reference: Reference) -> OpenObject:
        """Ask for one object; what is not read of it is let go with the result.

        Raises:
            RefusedError: it is not there, or not for us, or no longer what is meant.
            UnavailableError: the store does not answer, or not now.
        """
        ...

    async def close(self) -> None: ...
