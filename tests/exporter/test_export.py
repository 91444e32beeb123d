import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from exporter import models
from exporter.apart import Predict
from exporter.errors import ExportError
from exporter.export import PYTHON_BACKEND, export
from exporter.formats import TorchScript

pytestmark = pytest.mark.slow

NAME = "resnet20_cifar10"
Files = dict[str, tuple[bytes, int]]


def snapshot(folder: Path) -> Files:
    """Every file's content and modification time."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


class Wrong(TorchScript):
    """Compiles another function than it was given, as a faulty compiler would."""

    def load(self, path: Path) -> Predict:
        right = super().load(path)
        return lambda pixels: right(pixels).flip(1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one export, for tests that leave it as it is."""
    repository = tmp_path_factory.mktemp("repository")
    export(NAME, repository)
    return repository


@pytest.fixture
def own(shared: Path, tmp_path: Path) -> Path:
    """The same for one test alone."""
    return shutil.copytree(shared, tmp_path / "repository")


def test_an_export_is_checked_against_the_oracle_and_says_what_it_found(tmp_path: Path) -> None:
    lines: list[str] = []
    done = export(NAME, tmp_path, backend="python", report=lines.append)
    assert done.verdict is not None
    assert (done.verdict.images, done.verdict.changed, done.verdict.correct) == (1000, 0, 915)
    assert done.verdict.max_difference < 1e-4
    assert any("max difference" in line for line in lines)
    assert any("scripted" in line for line in lines)
    assert sorted(snapshot(done.directory)) == [
        "1/export.json",
        "1/model.pt",
        "1/model.py",
        "config.pbtxt",
        "labels.txt",
    ]
    assert (done.directory / "1/model.py").read_bytes() == PYTHON_BACKEND.read_bytes()


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_exported_graph_takes_pixels_and_gives_probabilities(shared: Path, batch: int) -> None:
    predict = TorchScript().load(shared / NAME / "1/model.pt")
    scores = predict(torch.randint(0, 256, (batch, 32, 32, 3), dtype=torch.uint8))
    assert scores.dtype == torch.float32
    assert scores.shape == (batch, 10)
    assert torch.allclose(scores.sum(1), torch.ones(batch))


def test_the_exported_graph_names_no_device(shared: Path) -> None:
    # A device written into the graph would break it on the other kind of machine.
    predict = TorchScript().load(shared / NAME / "1/model.pt")
    assert isinstance(predict, torch.jit.ScriptModule)
    assert 'torch.device("' not in predict.code


def test_a_second_export_writes_nothing_and_says_so(shared: Path) -> None:
    before = snapshot(shared)
    lines: list[str] = []
    done = export(NAME, shared, report=lines.append)
    assert not done.changed
    assert any("unchanged" in line for line in lines)
    assert snapshot(shared) == before


def test_another_setting_is_exported_anew(own: Path) -> None:
    assert export(NAME, own, max_batch_size=8).changed
    assert "max_batch_size: 8" in (own / NAME / "config.pbtxt").read_text()


def test_a_damaged_file_is_repaired(own: Path) -> None:
    (own / NAME / "labels.txt").write_text("cat\n")
    assert export(NAME, own).changed
    assert (own / NAME / "labels.txt").read_text().startswith("airplane\nautomobile\n")


def test_a_failed_check_leaves_the_repository_as_it_was(shared: Path) -> None:
    before = snapshot(shared)
    with pytest.raises(ExportError, match="differs from eager mode"):
        export(NAME, shared, max_batch_size=8, model_format=Wrong())
    assert snapshot(shared) == before


def test_a_failed_check_creates_no_repository(tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        export(NAME, tmp_path / "new", model_format=Wrong())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_repository_as_it_was(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(own)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError, match="No space left on device"):
        export(NAME, own, version=2)
    assert snapshot(own) == before
    assert [path.name for path in (own / NAME).iterdir() if path.is_dir()] == ["1"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("backend", "onnx"),
        ("device", "tpu"),
        ("precision", "int8"),
        ("version", 0),
        ("max_batch_size", 0),
        ("instances", 0),
        ("queue_delay_us", -1),
        ("threads", 0),
    ],
)
def test_an_option_out_of_range_is_named(option: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=option.split("_", maxsplit=1)[0]):
        export(NAME, tmp_path, **{option: value})  # type: ignore[arg-type]  # wrong on purpose
    assert not list(tmp_path.iterdir())


def test_a_torchvision_model_is_exported(tmp_path: Path) -> None:
    done = export("resnet18", tmp_path, weights="none", backend="python")
    assert done.verdict is not None
    assert done.verdict.images == 16
    labels = (done.directory / "labels.txt").read_text().splitlines()
    assert len(labels) == 1000
    assert labels == list(models.find("resnet18").labels)


class Unscriptable(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        kinds = {type(pixels): pixels}  # a dict of types: TorchScript has no such thing
        return torch.softmax(kinds[Tensor].float().mean((1, 2)), dim=1)


def test_what_can_not_be_scripted_is_traced_and_the_reason_given(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    module = Unscriptable().eval()
    example = torch.randint(0, 256, (2, 4, 4, 3), dtype=torch.uint8)
    how = TorchScript().save(module, example, path)
    assert "traced, because scripting failed" in how
    assert torch.equal(TorchScript().load(path)(example), module(example))


def test_a_repository_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    steps: list[str] = []
    with pytest.raises(ExportError, match=r"can't write .*file/models: Not a directory"):
        export(NAME, tmp_path / "file" / "models", report=steps.append)
    assert steps == [f"{NAME}: loading the weights"]
