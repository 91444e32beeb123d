"""A model whose versions can be told apart, in a Triton that loads and unloads on request."""

from pathlib import Path

import tritonclient.grpc as triton

from stack.triton import Triton

MODEL = "versions"
LABELS = "cat\ndog\n"
CONFIG = f"""\
name: "{MODEL}"
backend: "python"
max_batch_size: 32
dynamic_batching {{ }}
input [{{ name: "PIXELS" data_type: TYPE_UINT8 dims: [ 32, 32, 3 ] }}]
output [{{ name: "SCORES" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" }}]
instance_group [{{ kind: KIND_CPU }}]
"""
GOOD = """\
import numpy  # before Triton's module: the environment's packages are there from the start
import triton_python_backend_utils as pb


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            count = pb.get_input_tensor_by_name(request, "PIXELS").as_numpy().shape[0]
            scores = numpy.tile(numpy.array([0.9, 0.1], numpy.float32), (count, 1))
            answers.append(pb.InferenceResponse([pb.Tensor("SCORES", scores)]))
        return answers
"""
FAILING = """\
import numpy
import triton_python_backend_utils as pb


class TritonPythonModel:
    def execute(self, requests):
        # An error of its own for each: Triton crashes over one that several answers share.
        return [
            pb.InferenceResponse([], pb.TritonError("this version fails on every image"))
            for _ in requests
        ]
"""


class Versions:
    """The model's folder, and the server that serves its newest version."""

    def __init__(self, directory: Path) -> None:
        self.repository = directory / "models"
        folder = self.repository / MODEL
        folder.mkdir(parents=True)
        (folder / "config.pbtxt").write_text(CONFIG)
        (folder / "labels.txt").write_text(LABELS)
        self.put(1, GOOD)
        self.server = Triton(
            self.repository,
            directory / "triton",
            arguments=["--model-control-mode=explicit", f"--load-model={MODEL}"],
        )

    def put(self, version: int, source: str) -> None:
        folder = self.repository / MODEL / str(version)
        folder.mkdir()
        (folder / "model.py").write_text(source)

    def load(self) -> None:
        """Load what is in the folder now; the newest version answers from then on."""
        with triton.InferenceServerClient(self.server.grpc) as client:
            client.load_model(MODEL)

    def unload(self) -> None:
        with triton.InferenceServerClient(self.server.grpc) as client:
            client.unload_model(MODEL)
