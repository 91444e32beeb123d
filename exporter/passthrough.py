"""A model that takes encoded images: a decoding step and the network, as one Triton ensemble.

The bridge passes encoded images on to it. For an image that cannot be decoded, the reason comes
back in the output that the bridge looks for (see `bridge/triton/model.py`).
"""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from exporter import models
from exporter.errors import ExportError
from exporter.imports import needed_files
from exporter.model import Model
from exporter.repository import install, is_current
from exporter.triton_config import (
    DEVICES,
    INPUT,
    LABELS,
    OUTPUT,
    parameter,
    parse,
    preprocess_parameters,
)

ENSEMBLE, STEP = "{name}_encoded", "{name}_decode"

DECODERS = 2
"""Decoding processes by default; one for each core is the best choice."""

DECODED_PIXELS = 1 << 20
"""Pixels that a decoding process makes for one request: 20 images of 224x224. A request is decoded
by one process, which takes milliseconds for each photo. With 128 of them in a request, most
processes had none. The network's batcher collects the decoded images of several requests."""

MAX_IMAGE_BYTES = 16 << 20
MAX_PIXELS = 50_000_000
"""Most pixels of an image: the bridge's default where it decodes by itself."""

ROOT = Path(__file__).resolve().parents[1]
CODE = ROOT / "exporter/decoding/model.py"
"""The decoding step. It runs the same files of `imaging` and `wire` as the bridge, on numpy, Pillow
and pyspng; with DALI, on the packages in `exporter/decoding/requirements.lock`."""

HEADER = "# Written by scripts/export_model.py: change its options, not this file.\n"

STEP_CONFIG = """\
{header}
name: "{step}"
backend: "python"
max_batch_size: {max_batch_size}

# An encoded image: PNG, JPEG, WebP, BMP, or AVIF where this Pillow has it.
input {{ name: "IMAGE" data_type: TYPE_STRING dims: [ 1 ] }}

# Its pixels: height, width, RGB; and why there are none, "kind: message", else empty.
output {{ name: "PIXELS" data_type: TYPE_UINT8 dims: [ {dims} ] }}
output {{ name: "ERROR" data_type: TYPE_STRING dims: [ 1 ] }}

instance_group {{ count: {decoders} kind: {kind} }}

{parameters}
"""

ENSEMBLE_CONFIG = """\
{header}
name: "{ensemble}"
platform: "ensemble"
max_batch_size: {max_batch_size}

input {{ name: "IMAGE" data_type: TYPE_STRING dims: [ 1 ] }}
output {{
  name: "{output}" data_type: TYPE_FP32 dims: [ {classes} ] label_filename: "{labels}"
}}
output {{ name: "ERROR" data_type: TYPE_STRING dims: [ 1 ] }}

ensemble_scheduling {{
  step {{
    model_name: "{step}" model_version: -1
    input_map {{ key: "IMAGE" value: "IMAGE" }}
    output_map {{ key: "PIXELS" value: "PIXELS" }}
    output_map {{ key: "ERROR" value: "ERROR" }}
  }}
  step {{
    model_name: "{name}" model_version: -1
    input_map {{ key: "{input}" value: "PIXELS" }}
    output_map {{ key: "{output}" value: "{output}" }}
  }}
}}
"""


def export_ensemble(
    name: str | Model,
    repository: Path,
    *,
    weights: str | Path | None = None,
    version: int = 1,
    max_batch_size: int = 64,
    decoders: int = DECODERS,
    dali: bool = False,
    device: str = "auto",
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write `<name>_decode` and `<name>_encoded` beside the network, if they are not there yet.

    Args:
        name, weights, version: those of the network's export.
        max_batch_size: the network's; the ensemble's is smaller where images are large.
        decoders: processes of the decoding step; on GPUs, processes for each GPU.
        dali: whether NVIDIA DALI decodes JPEGs.
        device: where DALI does: auto (a GPU where Triton sees one), cpu or cuda.
        report: called with a line for each step.

    Returns:
        The ensemble's folder.

    Raises:
        ExportError: an argument is wrong, or a file cannot be read or written.
    """
    model = models.find(name, weights=weights)
    name = model.name
    if model.task != "classify" or not model.labels:
        raise ExportError(
            f"an ensemble decodes for a classifier with labels, which {name} is not; the bridge "
            "decodes for any model"
        )
    if not 1 <= decoders <= 1024:
        raise ExportError(f"decoders is between 1 and 1024, not {decoders}")
    rules = {f"{version}/{path.relative_to(ROOT)}": path for path in needed_files(CODE, ROOT)}
    names = {"name": name, "step": STEP.format(name=name), "ensemble": ENSEMBLE.format(name=name)}
    # A GPU decodes all images of a request side by side.
    on_gpu = dali and device == "cuda"
    most = max_batch_size if on_gpu else DECODED_PIXELS // (model.size[0] * model.size[1]) or 1
    common = {**names, "header": HEADER, "max_batch_size": min(max_batch_size, most)}
    parameters = {
        **preprocess_parameters(model),
        "max_image_bytes": str(MAX_IMAGE_BYTES),
        "max_pixels": str(MAX_PIXELS),
        **({"dali": "true"} if dali else {}),
    }
    step = STEP_CONFIG.format(
        **common,
        dims=f"{model.size[0]}, {model.size[1]}, {model.channels}",
        decoders=decoders,
        kind=DEVICES[device if dali else "cpu"],
        parameters="\n".join(parameter(key, value) for key, value in parameters.items()),
    )
    ensemble = ENSEMBLE_CONFIG.format(
        **common, input=INPUT, output=OUTPUT, labels=LABELS, classes=len(model.labels)
    )
    code = {f"{version}/model.py": CODE, **rules}
    _install(repository / names["step"], version, step, code, {}, report)
    labels = {LABELS: "\n".join(model.labels) + "\n"}
    _install(repository / names["ensemble"], version, ensemble, {}, labels, report)
    return repository / names["ensemble"]


def _install(
    directory: Path,
    version: int,
    config: str,
    files: dict[str, Path],
    texts: dict[str, str],
    report: Callable[[str], None],
) -> None:
    parse(config)
    texts = {**texts, "config.pbtxt": config}
    made_from: dict[str, object] = {
        "texts": texts,
        "files": {
            name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
        },
    }
    if is_current(directory, version, made_from):
        report(f"{directory.name}: unchanged, nothing to write in {directory}")
        return
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        staged = dict(files)
        for name, text in texts.items():
            staged[name] = Path(folder) / name
            staged[name].write_text(text)
        install(directory, version, staged, made_from)
    report(f"{directory.name}: version {version} is in {directory}")
