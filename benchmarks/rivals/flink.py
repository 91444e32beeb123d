"""Models that Flink's provider for Triton can call: its images are arrays of FP32, or text.

The weights, the code and the instances are those of the model that the others use; only what an
image looks like on its way is another.
"""

import re
import shutil
from pathlib import Path

from benchmarks.models import NULL

ARRAY, TEXT = "array", "text"
KINDS = {ARRAY: ("TYPE_FP32", 32 * 32 * 3), TEXT: ("TYPE_STRING", 1)}

_PIXELS = {
    ARRAY: "numbers.astype(np.uint8)",
    TEXT: "np.frombuffer(b''.join(map(base64.b64decode, numbers[:, 0])), np.uint8)",
}
_CODE = """\
import base64
import pathlib
import sys

import numpy as np
import triton_python_backend_utils as pb_utils

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import exported


class TritonPythonModel(exported.TritonPythonModel):
    def _pixels(self, request):
        numbers = pb_utils.get_input_tensor_by_name(request, "INPUT__0").as_numpy()
        return np.ascontiguousarray(PIXELS.reshape(-1, 32, 32, 3))
"""
_WARM_UP = re.compile(r"^model_warmup \{.*?^\}\n", re.MULTILINE | re.DOTALL)
_INPUT = re.compile(r'input \{ name: "INPUT__0".*?\}')


def name_of(model: str, kind: str) -> str:
    """The name of a model's variant for Flink."""
    return f"{model}_{kind}"


def write_variants(repository: Path, model: str) -> None:
    """Write variants of both models for Flink, for both kinds of images."""
    for kind, (data_type, size) in KINDS.items():
        for of in (model, NULL):
            config = (repository / of / "config.pbtxt").read_text()
            named = f'name: "{name_of(of, kind)}"'
            config = _WARM_UP.sub("", config).replace(f'name: "{of}"', named, 1)
            takes = f'input {{ name: "INPUT__0" data_type: {data_type} dims: [ {size} ] }}'
            config, found = _INPUT.subn(takes, config)
            if found != 1:
                raise ValueError(f"{of}'s configuration has {found} inputs that are known")
            folder = repository / name_of(of, kind)
            shutil.copytree(repository / of, folder)
            (folder / "config.pbtxt").write_text(config)
            if of == model:
                code = folder / "1/model.py"
                code.rename(code.with_name("exported.py"))
                code.write_text(_CODE.replace("PIXELS", f"({_PIXELS[kind]})"))
