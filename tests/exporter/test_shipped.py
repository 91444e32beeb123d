"""The model that the demo takes where torch is not installed: the same one, and it needs none."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from cli.paths import DATA
from exporter import check, models, weights
from exporter.errors import ExportError
from exporter.graph import wrapped
from exporter.onnx_format import Onnx
from exporter.shipped import MODEL, SHIPPED, install_shipped
from exporter.triton_config import Serving, render, usual_batch_size
from stack.demo.table import RIGHT
from stack.paths import ROOT
from stack.triton import Triton

WITHOUT_TORCH = """\
import sys
from pathlib import Path
sys.modules["torch"] = None
import stack.demo.command
from exporter.shipped import install_shipped
print(install_shipped(Path(sys.argv[1])))
"""


def test_it_is_what_an_export_writes() -> None:
    model = models.find(MODEL)
    verdict = check.compare(
        wrapped(weights.load(model, None), model),
        Onnx().load(SHIPPED / "1" / "model.onnx"),
        check.sample(model),
        "fp32",
    )
    assert (verdict.changed, verdict.correct) == (0, RIGHT)
    serving = Serving("python", usual_batch_size(model), 2, "auto", 0, None)
    config = render(model, serving, Onnx.platform, Onnx.filename, size=10, precision="fp32")
    assert (SHIPPED / "config.pbtxt").read_text() == config
    assert (SHIPPED / "labels.txt").read_text().split() == list(model.labels)


def test_it_is_installed_without_torch_and_then_left_as_it_is(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    model = tmp_path / MODEL / "1" / "model.onnx"
    assert model.read_bytes() == (SHIPPED / "1" / "model.onnx").read_bytes()
    before = model.stat().st_mtime_ns
    install_shipped(tmp_path)
    assert model.stat().st_mtime_ns == before


def test_a_repository_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ExportError, match="can't write"):
        install_shipped(file)


@pytest.mark.slow
def test_triton_answers_with_it_as_with_the_others(tmp_path: Path) -> None:
    install_shipped(tmp_path / "models")
    with np.load(DATA / "cifar10_test_1000.npz") as archive:
        images, labels = archive["images"], archive["labels"]
    right = 0
    with (
        Triton(tmp_path / "models", tmp_path / "triton") as triton,
        grpcclient.InferenceServerClient(triton.grpc) as client,
    ):
        for begin in range(0, len(images), 50):
            batch = images[begin : begin + 50]
            given = grpcclient.InferInput("INPUT__0", batch.shape, "UINT8")
            given.set_data_from_numpy(batch)
            found = client.infer(MODEL, [given]).as_numpy("OUTPUT__0")
            right += int((found.argmax(1) == labels[begin : begin + 50]).sum())
    assert right == RIGHT
