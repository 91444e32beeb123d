"""The format that follows TorchScript gives the same answers, in the exporter and in Triton."""

from pathlib import Path

import numpy as np
import pytest

from bridge.triton.client import TritonServer, probe
from cli.paths import DATA
from exporter.errors import ExportError
from exporter.export import export
from exporter.formats import AotInductor, find_format
from stack.triton import Triton
from wire.prediction import ScoredLabel

pytestmark = pytest.mark.slow

NAME = "resnet20_cifar10"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pt2")
    done = export(NAME, folder, backend="python", model_format=AotInductor())
    assert done.verdict is not None
    assert (done.verdict.changed, done.verdict.correct) == (0, 915)
    return folder


def test_a_pt2_export_keeps_the_oracle_at_any_batch_size(repository: Path) -> None:
    import torch  # noqa: PLC0415

    predict = AotInductor().load(repository / NAME / "1/model.pt2")
    with np.load(DATA / "cifar10_test_1000.npz") as archive:
        pixels = torch.from_numpy(archive["images"][:64])
    together = predict(pixels)
    for size in (1, 7):
        assert torch.allclose(predict(pixels[:size]), together[:size], atol=1e-4)


def test_triton_serves_a_pt2_export(repository: Path, tmp_path: Path) -> None:
    assert len(answer_of(repository, tmp_path)) == 3


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_loses_two_tenths_of_a_point_at_most(precision: str, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    done = export(NAME, folder, backend="python", precision=precision)
    assert done.verdict is not None
    assert done.verdict.correct is not None
    assert done.verdict.correct >= 913
    assert done.verdict.max_difference > 1e-4  # it really computes with fewer bits
    assert len(answer_of(folder, tmp_path)) == 3


def answer_of(repository: Path, tmp_path: Path) -> tuple[ScoredLabel, ...]:
    """What Triton answers to a probe image."""
    with Triton(repository, tmp_path / "triton") as server:
        client = TritonServer(server.grpc, NAME)
        answer = probe(client, client.load_spec())
        client.close()
    (top,) = answer.results
    assert isinstance(top, tuple)
    return top


def test_an_unknown_format_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ExportError, match="torchscript, pt2, onnx"):
        find_format("tflite", "cpu")
