"""How a module becomes a file. Another format is another `ModelFormat`."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

Predict = Callable[[Tensor], Tensor]


class ModelFormat(Protocol):
    """A file format for a compiled module.

    Attributes:
        filename: what the file is called inside a version's directory.
    """

    @property
    def filename(self) -> str: ...

    def save(self, module: nn.Module, example: Tensor, path: Path) -> str:
        """Compile `module` and write it to `path`; `example` is an input of the usual shape.

        Returns how it was compiled, for the person who watches.
        """
        ...

    def load(self, path: Path) -> Predict:
        """Read it back onto the CPU."""
        ...


class TorchScript:
    """What Triton's pytorch backend and `torch.jit.load` read."""

    filename = "model.pt"

    def save(self, module: nn.Module, example: Tensor, path: Path) -> str:
        with _quiet():
            try:
                compiled, how = torch.jit.script(module), "scripted"
            except (RuntimeError, NotImplementedError, torch.jit.frontend.FrontendError) as error:
                # Second choice: a trace freezes the device and every branch of its example.
                reason = str(error).strip().partition("\n")[0]
                compiled = torch.jit.trace(module, example)  # type: ignore[no-untyped-call]  # untyped
                how = f"traced, because scripting failed ({reason})"
            torch.jit.save(torch.jit.freeze(compiled), path)
        return f"TorchScript, {how}, frozen"

    def load(self, path: Path) -> Predict:
        with _quiet():
            module: Predict = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]  # untyped
        return module


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's notice that TorchScript is no longer developed: Triton needs it still."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated")
        yield
