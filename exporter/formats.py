"""The file formats for modules. A further format is a further `ModelFormat`."""

import copy
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from exporter.apart import Apart, Predict
from exporter.errors import ExportError

MAX_BATCH_SIZE = 4096
"""The largest batch that may be asked for: a larger one is a mistake, and Triton would warm up with
it."""


class ModelFormat(Protocol):
    """A file format for a compiled module.

    Attributes:
        filename: name of the file in a version's folder.
        backend: Triton's own backend that reads it; the Python backend reads all formats.
        platform: that backend's name for the format.
    """

    @property
    def filename(self) -> str: ...

    @property
    def backend(self) -> str: ...

    @property
    def platform(self) -> str: ...

    def save(self, module: nn.Module, example: Tensor, path: Path) -> str:
        """Compile `module` and write it to `path`; `example` is an input of the usual shape.

        Returns a text for people about the way it was compiled.
        """
        ...

    def load(self, path: Path) -> Predict:
        """Read the file as a function of tensors on the CPU; a detector's returns three tensors."""
        ...


class TorchScript:
    """The format that Triton's pytorch backend and `torch.jit.load` read."""

    filename = "model.pt"
    backend = "pytorch"
    platform = "pytorch_libtorch"

    def save(self, module: nn.Module, example: Tensor, path: Path) -> str:
        with quiet():
            try:
                compiled, how = torch.jit.script(module), "scripted"
            except (RuntimeError, NotImplementedError, torch.jit.frontend.FrontendError) as error:
                # Second choice: a trace fixes the device, and each branch as taken by the example.
                reason = str(error).strip().partition("\n")[0]
                with warnings.catch_warnings():
                    # torch warns about branches that a trace fixes; the check on other images
                    # finds those.
                    warnings.simplefilter("ignore")
                    compiled = torch.jit.trace(module, example)  # type: ignore[no-untyped-call]  # untyped
                how = f"traced, because scripting failed ({reason})"
            torch.jit.save(torch.jit.freeze(compiled), path)
        return f"TorchScript, {how}, frozen"

    def load(self, path: Path) -> Predict:
        import torchvision  # noqa: F401, PLC0415 - registers the operators of its detectors

        with quiet():
            module: Predict = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]  # untyped
        return module


class AotInductor:
    """torch.export compiled ahead of time: the successor of TorchScript, whose development has
    ended.

    The file holds machine code for the kind of device and CPU on which it was compiled. Compiling
    needs a C++ compiler.
    """

    filename = "model.pt2"
    backend = "pytorch"
    platform = "torch_aoti"

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def save(self, module: nn.Module, example: Tensor, path: Path) -> str:
        # Imported late, here and below: it takes seconds, which TorchScript does not need.
        from torch._inductor import aoti_compile_and_package  # noqa: PLC0415

        # An example of one image would be taken to mean that there is always one image.
        batch = torch.export.Dim("batch", min=1, max=MAX_BATCH_SIZE)
        module = copy.deepcopy(module).to(self._device)
        try:
            program = torch.export.export(
                module, (example.to(self._device),), dynamic_shapes=({0: batch},)
            )
        except Exception as error:  # the user's network can fail in any way
            reason = str(error).strip().partition("\n")[0]
            raise ExportError(f"torch.export can't take the network: {reason}") from error
        try:
            aoti_compile_and_package(program, package_path=str(path))
        except (RuntimeError, subprocess.CalledProcessError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ExportError(
                f"AOTInductor could not compile the network, which needs a C++ compiler: {reason}"
            ) from None
        return f"torch.export, AOTInductor for {self._device}"

    def load(self, path: Path) -> Predict:
        what = f"the file that AOTInductor of torch {torch.__version__} compiled for {self._device}"
        return Apart(partial(_load_package, path, self._device), what)


def _load_package(path: Path, device: str) -> Predict:
    from torch._inductor import aoti_load_package  # noqa: PLC0415

    package: Predict = aoti_load_package(str(path))

    def predict(pixels: Tensor) -> Tensor:
        # The check compares with float32; TF32, torch's default on a GPU, is less precise.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            answer: Tensor = package(pixels.to(device)).cpu()
            return answer

    return predict


FORMATS = ("torchscript", "pt2", "onnx")


def find_format(name: str, device: str) -> ModelFormat:
    """The format with this name on the command line.

    Raises:
        ExportError: there is no such format.
    """
    if name == "torchscript":
        return TorchScript()
    if name == "pt2":
        return AotInductor("cuda" if device == "cuda" else "cpu")
    if name == "onnx":
        from exporter.onnx_format import Onnx  # noqa: PLC0415 - only needed for this format

        return Onnx()
    raise ExportError(f"format is one of {', '.join(FORMATS)}, not {name!r}")


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress torch's notice that TorchScript is no longer developed, as Triton still needs it;
    and the notice of torchvision's detectors that, scripted, they also return their losses."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated")
        warnings.filterwarnings("ignore", r"\w+ always returns a")
        yield
