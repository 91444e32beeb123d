"""NVIDIA Triton Inference Server from the PyPI package `nvidia-pytriton`.

It is the real server with only the Python backend: `config.pbtxt` says `backend: "python"`.
"""

import contextlib
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from find_libpython import find_libpython

from cli.app import install
from stack.errors import StackError
from stack.ports import HOST, free_ports, require_free
from stack.probe import is_ok
from stack.service import Command, Service

EXIT_TIMEOUT_S = 10
"""Seconds that requests in flight may take after SIGTERM; less than the bound on a stop."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Triton's Python backend keeps its regions there


class Triton(Service):
    """A Triton on 127.0.0.1 that serves `model_repository`, on the GPU where there is one.

    It is ready when all its models are loaded and warmed up; a model that cannot be loaded fails
    the start. On a machine without a GPU, its warnings about NVML and DCGM can be ignored.

    Args:
        model_repository: folder of models in Triton's layout.
        directory: folder for the log and the assembled backend.
        grpc_port, http_port, metrics_port: None: free ports.
        arguments: further `tritonserver` options, each as `--name=value`; they replace those that
            are set here.
    """

    def __init__(
        self,
        model_repository: Path,
        directory: Path,
        grpc_port: int | None = None,
        http_port: int | None = None,
        metrics_port: int | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__("Triton", directory)
        self.model_repository = model_repository.absolute()
        picked = free_ports(3)
        self._ports = {
            "grpc": picked[0] if grpc_port is None else grpc_port,
            "http": picked[1] if http_port is None else http_port,
            "metrics": picked[2] if metrics_port is None else metrics_port,
        }
        self._arguments = tuple(arguments)
        self._links: Path | None = None
        # One prefix for each directory, so that what a killed server leaves in memory can be found.
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        self._shared_memory_prefix = f"triton_stack_{digest}_"

    @property
    def grpc(self) -> str:
        return f"{HOST}:{self._ports['grpc']}"

    @property
    def http(self) -> str:
        return f"{HOST}:{self._ports['http']}"

    @property
    def metrics(self) -> str:
        return f"{HOST}:{self._ports['metrics']}"

    def _prepare(self) -> Command:
        if not self.model_repository.is_dir():
            raise StackError(f"Triton's model repository is not a folder: {self.model_repository}")
        for name, port in self._ports.items():
            require_free(port, f"Triton's {name}")
        self._clean_up()
        installed = package()
        backends = self.directory / "backends"
        _assemble_python_backend(installed, backends / "python")
        options = {
            "--model-repository": str(self._plain(self.model_repository)),
            "--backend-directory": str(self._plain(backends)),
            "--model-control-mode": "none",
            "--strict-readiness": "true",
            "--exit-timeout-secs": str(EXIT_TIMEOUT_S),
        }
        for name, port in self._ports.items():
            options |= {f"--{name}-address": HOST, f"--{name}-port": str(port)}
        given = {argument.split("=")[0] for argument in self._arguments}
        return Command(
            [
                str(installed / "tritonserver/bin/tritonserver"),
                *(f"{name}={value}" for name, value in options.items() if name not in given),
                f"--backend-config=python,shm-region-prefix-name={self._shared_memory_prefix}",
                *self._arguments,
            ],
            _environment(installed),
        )

    def _plain(self, folder: Path) -> Path:
        """The same folder under a name without white space: Triton passes it to a shell
        unquoted."""
        if not re.search(r"\s", str(folder)):
            return folder
        if self._links is None:
            self._links = Path(tempfile.mkdtemp(prefix="triton-"))
        if re.search(r"\s", str(self._links)):
            raise StackError(
                f"Triton cannot serve from {folder}, whose path holds white space, nor link to it "
                f"from {self._links.parent}: set TMPDIR to a folder without any"
            )
        link = self._links / re.sub(r"\s", "_", folder.name)
        link.symlink_to(folder)
        return link

    def _causes(self, log: str) -> list[str]:
        for missing, extra in (("torch", "model"), ("onnxruntime", "onnx")):
            if f"No module named '{missing}'" in log:
                return [f"a model needs {missing}, which is not installed: {install(extra)}"]
        # One line for each, with a model's traceback escaped. A missing CUDA driver is no reason
        # for a failed start.
        lines = re.findall(r"^E\d{4} .*$", log, re.MULTILINE)
        return [line.replace("\\n", "\n") for line in lines if "CudaDriverHelper" not in line]

    def _is_ready(self) -> bool:
        return is_ok(self.http, "/v2/health/ready", timeout_s=1)

    def _clean_up(self) -> None:
        if self._links is not None:
            shutil.rmtree(self._links, ignore_errors=True)
            self._links = None
        for region in SHARED_MEMORY.glob(f"{self._shared_memory_prefix}*"):
            with contextlib.suppress(FileNotFoundError):
                region.unlink()


def package() -> Path:
    """The folder of the package that contains Triton.

    Raises:
        StackError: it is not installed; the text says how it can be.
    """
    # Only looked up: an import would start the package's own machinery.
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        known = platform.machine() == "x86_64" and sys.version_info < (3, 13)
        remedy = install("stack") if known else "there is none but for Python 3.11, 3.12 on x86-64"
        raise StackError(f"Triton comes with nvidia-pytriton, which is not installed: {remedy}")
    return Path(spec.origin).parent


def _assemble_python_backend(package: Path, target: Path) -> None:
    """Lay out the Python backend as Triton expects it, with the stub for this Python."""
    server = package / "tritonserver"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / python / "triton_python_backend_stub"
    if not stub.is_file():
        raise StackError(f"{package.name} has no Triton Python backend for Python {python}")
    # Written anew each time: a stub that was just killed may still hold its file.
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    backend = server / "backends/python"
    shutil.copy2(backend / "libtriton_python.so", target)
    shutil.copy2(backend / "triton_python_backend_utils.py", target)
    shutil.copy2(stub, target)
    (target / stub.name).chmod(0o755)  # package installers remove the execute bit


def _environment(package: Path) -> dict[str, str]:
    """The environment in which the server finds its own libraries, and its stub this Python."""
    libpython = find_libpython()
    if libpython is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise StackError(
            f"Triton's Python backend needs libpython{version}.so, which this Python lacks: "
            f"install it (Debian, Ubuntu: apt install libpython{version})"
        )
    libraries = [str(Path(libpython).parent), str(package.parent / "nvidia_pytriton.libs")]
    if inherited := os.environ.get("LD_LIBRARY_PATH"):
        libraries.append(inherited)
    return {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(libraries),
        # The stub's Python reads no PYTHON* variable. It looks for `python3` on the PATH to learn
        # where it is installed: this puts it in this virtual environment, with numpy 1 and torch.
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
    }
