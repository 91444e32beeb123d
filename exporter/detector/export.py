"""The shipped detector as Triton serves it."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from cli.paths import DATA
from exporter.detector.canvases import LABELS, SIDE, canvases, shipped
from exporter.detector.evaluate import load
from exporter.detector.network import GRID, Boxes
from exporter.errors import ExportError
from exporter.formats import TorchScript
from exporter.models import IMAGENET_MEAN, IMAGENET_STD
from exporter.repository import install, is_current
from exporter.triton_config import parse
from exporter.weights import digest

NAME = "detector_cifar10"
WEIGHTS = DATA / "detector_cifar10.pt"
CHECKED = 8
"""Canvases that the exported file is held to eager mode on."""
TOLERANCE = 1e-2
"""Largest difference: of pixels for boxes, some of which are 100 pixels large."""
BACKENDS = ("pytorch", "python")
SOURCES = Path(__file__).resolve().parent
PYTHON_BACKEND = SOURCES.parent / "python_backend" / "model.py"

CONFIG = """\
# Written by tkb export: change its options, not this file.

name: "{name}"
backend: "{backend}"
{platform}max_batch_size: {max_batch_size}

# Pixels of one image: height, width, RGB.
input {{ name: "INPUT__0" data_type: TYPE_UINT8 dims: [ {side}, {side}, 3 ] }}

# Of each cell the middle, width and height of its box in pixels, then a score for each class.
output {{ name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ {rows}, {cells} ] }}

# Requests that wait together run together, from however many clients they come.
dynamic_batching {{ }}

instance_group {{ count: {instances} kind: KIND_AUTO }}

{parameters}
"""


def export_detector(
    repository: Path,
    *,
    backend: str = "pytorch",
    version: int = 1,
    max_batch_size: int = 16,
    weights: Path = WEIGHTS,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write `<repository>/detector_cifar10/{config.pbtxt,<version>/model.pt}`; returns its folder.

    An export that was done before with the same inputs changes nothing.

    Args:
        report: called with a line for each step.

    Raises:
        ExportError: the exported file is not the network, or cannot be written.
    """
    if backend not in BACKENDS:
        raise ExportError(f"backend is one of {', '.join(BACKENDS)}, not {backend!r}")
    directory = repository / NAME
    network = load(weights)
    made_from: dict[str, object] = {
        "weights": digest(network),
        "serving": [backend, max_batch_size],
        "torch": torch.__version__,
        "exporter": _sources(),
    }
    if is_current(directory, version, made_from):
        report(f"{NAME}: unchanged, nothing to write in {directory}")
        return directory
    module = Boxes(network, IMAGENET_MEAN, IMAGENET_STD).eval()
    made = canvases(shipped()[1], 0)
    pixels = torch.stack([torch.from_numpy(next(made).pixels) for _ in range(CHECKED)])
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        graph, config = Path(folder) / "model.pt", Path(folder) / "config.pbtxt"
        how = TorchScript().save(module, pixels[:2], graph)
        report(f"{NAME}: {how}, {graph.stat().st_size / 1e6:.1f} MB")
        with torch.inference_mode():
            difference = float((module(pixels) - TorchScript().load(graph)(pixels)).abs().max())
        if not difference <= TOLERANCE:  # a NaN is not
            raise ExportError(f"the exported model differs from eager mode by {difference:.1e}")
        config.write_text(_config(backend, max_batch_size))
        files = {f"{version}/model.pt": graph}
        if backend == "python":
            files[f"{version}/model.py"] = PYTHON_BACKEND
        install(directory, version, {**files, "config.pbtxt": config}, made_from)
    report(f"{NAME}: as eager mode within {difference:.1e}; version {version} is in {directory}")
    return directory


def _sources() -> str:
    texts = [path.read_bytes() for path in (*sorted(SOURCES.glob("*.py")), PYTHON_BACKEND)]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def _config(backend: str, max_batch_size: int) -> str:
    told = {
        "preprocess.color": "RGB",
        "preprocess.fit": "letterbox",
        "postprocess.task": "detect",
        "postprocess.layout": "yolov8",
        "postprocess.labels": ",".join(LABELS),
    }
    if backend == "python":
        told |= {"DEVICE": "auto", "MODEL_FILE": "model.pt"}
    text = CONFIG.format(
        name=NAME,
        backend=backend,
        platform='platform: "pytorch_libtorch"\n' if backend == "pytorch" else "",
        max_batch_size=max_batch_size,
        side=SIDE,
        rows=4 + len(LABELS),
        cells=GRID * GRID,
        instances=2 if backend == "python" else 1,
        parameters="\n".join(
            f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
            for key, value in told.items()
        ),
    )
    parse(text)
    return text
