"""The null model: it answers at once, so that what remains is the bridge's own cost."""

from pathlib import Path

NULL = "null"
MAX_BATCH = 64
SHAPE = (32, 32, 3)
CLASSES = 10

LABELS = tuple(f"class_{i}" for i in range(CLASSES))

_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: {max_batch}
input {{ name: "INPUT__0" data_type: TYPE_{datatype} dims: [ {dims} ] }}
output {{ name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ {classes} ] label_filename: "labels.txt" }}
dynamic_batching {{ }}
instance_group {{ count: 1 kind: KIND_CPU }}
parameters {{ key: "preprocess.resize" value {{ string_value: "{resize}" }} }}
{more}"""
_NORMALIZED = 'parameters { key: "preprocess.normalize" value { string_value: "imagenet" } }\n'

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


def write_null_model(
    repository: Path,
    name: str = NULL,
    shape: tuple[int, int, int] = SHAPE,
    resize: int = SHAPE[0],
    datatype: str = "UINT8",
) -> None:
    """Write the null model into a repository, for images of this shape; floats: channels first."""
    dims = shape if datatype == "UINT8" else (shape[2], *shape[:2])
    directory = repository / name
    (directory / "1").mkdir(parents=True, exist_ok=True)
    config = _CONFIG.format(
        name=name, max_batch=MAX_BATCH, dims=", ".join(map(str, dims)), classes=CLASSES,
        resize=resize, datatype=datatype, more="" if datatype == "UINT8" else _NORMALIZED,
    )  # fmt: skip
    (directory / "config.pbtxt").write_text(config)
    (directory / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    (directory / "1" / "model.py").write_text(_CODE)
