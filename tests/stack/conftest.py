"""A model that needs no exporter, and a way to await a condition."""

from pathlib import Path

import pytest

CONFIG = """\
backend: "python"
max_batch_size: 8
input [{ name: "INPUT" data_type: TYPE_UINT8 dims: [ 4 ] }]
output [{ name: "OUTPUT" data_type: TYPE_UINT8 dims: [ 4 ] }]
instance_group [{ kind: KIND_CPU }]
"""

MODEL = """\
import numpy  # before Triton's module: the environment's packages are there from the start
import triton_python_backend_utils as pb


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb.InferenceResponse(
                [pb.Tensor("OUTPUT", pb.get_input_tensor_by_name(request, "INPUT").as_numpy())]
            )
            for request in requests
        ]
"""


def write_model(repository: Path, source: str = MODEL, name: str = "identity") -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    (version / "model.py").write_text(source)


@pytest.fixture
def identity_repository(tmp_path: Path) -> Path:
    write_model(tmp_path / "models")
    return tmp_path / "models"
