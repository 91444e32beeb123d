"""ONNX: read by Triton's onnxruntime backend, and by the Python backend without torch."""

import contextlib
import copy
import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from cli.app import install
from exporter.apart import Predict
from exporter.errors import ExportError

OPSET = 17
"""Version of ONNX's operators. ONNX Runtime reads it since 1.12 (2022), and it has all operators of
torchvision's networks."""

INPUT, OUTPUT = "INPUT__0", "OUTPUT__0"


class Onnx:
    """An ONNX file, which is the same for the CPU and a GPU.

    It is written by torch's tracing exporter: the other one needs an onnxscript whose ml-dtypes is
    built for numpy 2, but Triton's Python backend needs numpy 1 here.
    """

    filename = "model.onnx"
    platform = "onnxruntime_onnx"
    backend = "onnxruntime"

    def save(self, module: nn.Module, example: Tensor, path: Path) -> str:
        require_onnx()
        # The exporter warns about what the check finds, and prints the whole graph when it fails.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            try:
                torch.onnx.export(
                    copy.deepcopy(module),
                    (example,),
                    path,
                    dynamo=False,
                    opset_version=OPSET,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
                )
            except Exception as error:  # the user's network can fail in any way
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                reason = reason.partition(". Please feel free")[0]
                raise ExportError(
                    f"the network can't become ONNX: {reason}. TorchScript, the usual form, takes "
                    "more networks: leave --format out"
                ) from error
        return f"ONNX, opset {OPSET}"

    def load(self, path: Path) -> Predict:
        import onnxruntime  # noqa: PLC0415 - only needed for this format

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no common class
            reason = str(error).strip().partition("\n")[0]
            raise ExportError(f"ONNX Runtime can't load the exported model: {reason}") from None

        def predict(pixels: Tensor) -> Tensor:
            return torch.from_numpy(session.run([OUTPUT], {INPUT: pixels.numpy()})[0])

        return predict


def require_onnx() -> None:
    """Check that the packages for ONNX are installed.

    Raises:
        ExportError: one is not.
    """
    try:
        import onnx  # noqa: F401, PLC0415 - torch's exporter imports it by itself
        import onnxruntime  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise ExportError(
            f"--format onnx needs {error.name}, which is not installed: {install('onnx')}"
        ) from None
