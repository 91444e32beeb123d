"""The servers of a run: new ones for each section or, where time is short, the same for all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, Self

from benchmarks.rig import Rig

Prepare = Callable[[Rig], None]


class Make(Protocol):
    """Makes a rig; see there."""

    def __call__(self, device: str, prepare: Prepare | None, *, decoding: bool) -> Rig: ...


class Servers:
    """Gives each section a rig; the end of the context ends the last one.

    Starting and stopping Kafka and Triton takes some 20 s on a machine with a GPU, which would be a
    seventh of a short run.

    Args:
        device: auto, cpu or cuda.
        shared: whether sections that add no models have the same servers; Triton then decodes
            nothing in them.
    """

    def __init__(self, device: str, *, shared: bool, make: Make = Rig) -> None:
        self._device = device
        self._shared = shared
        self._make = make
        self._rig: Rig | None = None

    @contextmanager
    def of(self, prepare: Prepare | None) -> Iterator[Rig]:
        """A section's servers.

        Args:
            prepare: adds models for it; it then has servers of its own.
        """
        if not self._shared or prepare is not None:
            with self._make(self._device, prepare, decoding=not self._shared) as rig:
                yield rig
            return
        if self._rig is None:
            self._rig = self._make(self._device, None, decoding=False).__enter__()
        try:
            yield self._rig
        except BaseException:
            self.close()  # whatever went wrong may have been the servers' fault
            raise

    def close(self) -> None:
        """End the servers that are shared, if there are any."""
        rig, self._rig = self._rig, None
        if rig is not None:
            rig.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
