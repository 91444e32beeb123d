"""Exports a model, by its name, into what Triton serves."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision

from exporter import check, models
from exporter import weights as checkpoints
from exporter.check_tasks import compare_as
from exporter.errors import ExportError
from exporter.formats import MAX_BATCH_SIZE, ModelFormat, TorchScript
from exporter.graph import PRECISIONS, wrapped
from exporter.model import Model
from exporter.outputs import require_output
from exporter.repository import install, is_current, require_writable
from exporter.triton_config import (
    BACKENDS,
    DEVICES,
    INSTANCES,
    LABELS,
    Serving,
    render,
    usual_batch_size,
)

SOURCES = Path(__file__).resolve().parent
PYTHON_BACKEND = SOURCES / "python_backend" / "model.py"


class Exported(NamedTuple):
    """The result of an export.

    Attributes:
        directory: the model's folder in the repository.
        changed: False where everything was there already.
        verdict: the comparison with eager mode; None where nothing changed.
    """

    directory: Path
    changed: bool
    verdict: check.Verdict | None


def export(
    name: str | Model,
    repository: Path,
    *,
    backend: str | None = None,
    weights: str | Path | None = None,
    task: str | None = None,
    version: int = 1,
    max_batch_size: int | None = None,
    instances: int | None = None,
    device: str = "auto",
    queue_delay_us: int = 0,
    threads: int | None = None,
    precision: str = "fp32",
    model_format: ModelFormat | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write `<repository>/<name>/{config.pbtxt,labels.txt,<version>/model.pt}`.

    There is no labels.txt if the model has no labels, or has them in config.pbtxt (a detector).

    An export that was already done with the same inputs changes nothing; one that fails leaves the
    repository unchanged.

    Args:
        name: a name for `exporter.models.find`, or the user's own model.
        backend: pytorch, onnxruntime or python; by default the one that reads the format.
        weights: see `exporter.weights.load`.
        task: the task of a named model; None: the one that it is made for.
        max_batch_size: largest batch; by default that of `usual_batch_size`.
        instances: copies of the model on each device; by default `INSTANCES` of the backend.
        precision: of the network's weights and activations: fp32, fp16 or bf16.
        model_format: how the network is stored; TorchScript by default.
        report: called with a line for each step.

    Raises:
        ExportError: an argument, the weights or the exported file is wrong.
    """
    model_format = model_format or TorchScript()
    model = models.find(name, weights=weights, task=task)
    backend = backend or model_format.backend
    serving = Serving(
        backend,
        usual_batch_size(model) if max_batch_size is None else max_batch_size,
        INSTANCES.get(backend, 1) if instances is None else instances,
        device,
        queue_delay_us,
        threads,
    )
    _validate(serving, version, precision)
    _require_format(model, serving, precision, model_format)
    name = model.name
    directory = repository / name
    report(f"{name}: loading the weights")
    network = checkpoints.load(model, weights)
    made_from: dict[str, object] = {
        "model": name,
        "weights": checkpoints.digest(network),
        "surroundings": model.surroundings,
        "precision": precision,
        "format": model_format.filename,
        "serving": asdict(serving),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "exporter": _sources(),
    }
    if is_current(directory, version, made_from):
        report(f"{name}: unchanged, nothing to write in {directory}")
        return Exported(directory, changed=False, verdict=None)
    require_writable(repository)
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        staged = Path(folder)
        graph = staged / model_format.filename
        report(f"{name}: compiling")
        images = check.sample(model)
        example = images.pixels[:2]
        reference = wrapped(network, model)
        size = require_output(reference, example, model)
        how = model_format.save(wrapped(network, model, precision), example, graph)
        report(f"{name}: {how}, {graph.stat().st_size / 1e6:.1f} MB")
        report(f"{name}: checking the exported file on {len(images.pixels)} images")
        verdict = compare_as(model.task, reference, model_format.load(graph), images, precision)
        report(f"{name}: {verdict}")
        labels, config = staged / LABELS, staged / "config.pbtxt"
        labels.write_text("".join(f"{label}\n" for label in model.labels))
        config.write_text(
            render(
                model, serving, model_format.platform, model_format.filename,
                size=size, precision=precision,
            )
        )  # fmt: skip
        files = {f"{version}/{model_format.filename}": graph}
        if backend == "python":
            files[f"{version}/model.py"] = PYTHON_BACKEND
        if model.task == "classify" and model.labels:
            files[LABELS] = labels
        files["config.pbtxt"] = config
        install(directory, version, files, made_from)
    report(f"{name}: version {version} is in {directory}")
    return Exported(directory, changed=True, verdict=verdict)


def _validate(serving: Serving, version: int, precision: str) -> None:
    choices = (
        ("backend", serving.backend, BACKENDS),
        ("device", serving.device, tuple(DEVICES)),
        ("precision", precision, tuple(PRECISIONS)),
    )
    for what, value, allowed in choices:
        if value not in allowed:
            raise ExportError(f"{what} is one of {', '.join(allowed)}, not {value!r}")
    numbers = (
        ("version", version, 1, 2**31),
        ("max batch size", serving.max_batch_size, 1, MAX_BATCH_SIZE),
        ("instances", serving.instances, 1, 1024),
        ("queue delay", serving.queue_delay_us, 0, 60_000_000),
        ("threads", 1 if serving.threads is None else serving.threads, 1, 1024),
    )
    for what, number, lowest, highest in numbers:
        if not lowest <= number <= highest:
            raise ExportError(f"{what} is between {lowest} and {highest}, not {number}")


def _require_format(
    model: Model, serving: Serving, precision: str, model_format: ModelFormat
) -> None:
    """Check that the format suits the model, and that the backend can read it."""
    if serving.backend not in ("python", model_format.backend):
        raise ExportError(
            f"the {serving.backend} backend does not read {model_format.filename}: "
            f"{model_format.backend} and python do"
        )
    if model.task == "detect" and precision != "fp32":
        raise ExportError("a detector is exported in fp32: its boxes need all their digits")
    chooses = model.task == "detect" and model.layout == "torchvision"
    if chooses and model_format.filename != "model.pt":
        raise ExportError(
            "a detector that chooses among its boxes is exported as TorchScript: what it does "
            "depends on what it finds, which the other formats cannot hold"
        )
    if model_format.backend == "onnxruntime" and precision == "bf16":
        raise ExportError("ONNX Runtime lacks much in bf16: choose fp32 or fp16")


def _sources() -> str:
    found = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*.py")):
        found.update(f"{path.relative_to(SOURCES)}\n".encode() + path.read_bytes())
    return found.hexdigest()
