"""The null model: takes images, answers at once, so that what is left is the bridge's own cost."""

from pathlib import Path

NULL = "null"
MAX_BATCH = 64
SHAPE = (32, 32, 3)
CLASSES = 10

_CONFIG = f"""\
name: "{NULL}"
backend: "python"
max_batch_size: {MAX_BATCH}
input {{ name: "INPUT__0" data_type: TYPE_UINT8 dims: [ {", ".join(map(str, SHAPE))} ] }}
output {{ name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ {CLASSES} ] label_filename: "labels.txt" }}
dynamic_batching {{ }}
instance_group {{ count: 1 kind: KIND_CPU }}
parameters {{ key: "preprocess.resize" value {{ string_value: "32" }} }}
"""

_CODE = f"""\
import numpy as np
import triton_python_backend_utils as pb_utils

SCORES = np.full(({MAX_BATCH}, {CLASSES}), 0.1, np.float32)


class TritonPythonModel:
    def execute(self, requests):
        counts = [pb_utils.get_input_tensor_by_name(r, "INPUT__0").shape()[0] for r in requests]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT__0", SCORES[:count])])
            for count in counts
        ]
"""


def write_null_model(repository: Path) -> None:
    """Write it into a model repository."""
    directory = repository / NULL
    (directory / "1").mkdir(parents=True, exist_ok=True)
    (directory / "config.pbtxt").write_text(_CONFIG)
    (directory / "labels.txt").write_text("".join(f"class_{i}\n" for i in range(CLASSES)))
    (directory / "1" / "model.py").write_text(_CODE)
