import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from exporter import models, weights
from exporter.errors import ExportError

RESNET20 = models.find("resnet20_cifar10")


@pytest.fixture
def state() -> dict[str, Tensor]:
    assert RESNET20.shipped is not None
    return weights.read_checkpoint(RESNET20.shipped)


def save(content: Any, folder: Path) -> Path:
    path = folder / "checkpoint.pt"
    torch.save(content, path)
    return path


def test_the_shipped_checkpoint_gives_every_learned_weight(state: dict[str, Tensor]) -> None:
    loaded = weights.load(RESNET20, None).state_dict()
    learned = [name for name in loaded if not name.endswith("num_batches_tracked")]
    assert sorted(learned) == sorted(state)
    assert all(torch.equal(loaded[name], state[name]) for name in learned)


def test_a_wrapped_checkpoint_of_a_parallel_model_loads(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    parallel = {f"module.{name}": value for name, value in state.items()}
    path = save({"state_dict": parallel, "best_prec1": 91.7, "epoch": 200}, tmp_path)
    assert weights.digest(weights.load(RESNET20, path)) == weights.digest(
        weights.load(RESNET20, None)
    )


def test_keys_that_do_not_fit_are_named_with_what_is_wrong(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    del state["layer1.0.conv1.weight"]
    state["classifier.weight"] = torch.zeros(3)
    state["linear.bias"] = torch.zeros(100)
    path = save(state, tmp_path)
    with pytest.raises(ExportError) as caught:
        weights.load(RESNET20, path)
    text = str(caught.value)
    assert str(path) in text
    assert "missing: layer1.0.conv1.weight" in text
    assert "unexpected: classifier.weight" in text
    assert "wrong shape: linear.bias (100,) instead of (10,)" in text


def test_a_checkpoint_of_another_depth_is_refused_with_a_bounded_text() -> None:
    with pytest.raises(ExportError, match=r"missing: .* and \d+ more") as caught:
        weights.load(models.find("resnet110_cifar10"), RESNET20.shipped)
    assert len(str(caught.value)) < 1000


class Payload:
    """Anything but a tensor: unpickling it would run code of the checkpoint's author."""


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="can't be read as a checkpoint"):
        weights.read_checkpoint(save({"conv1.weight": Payload()}, tmp_path))


@pytest.mark.parametrize("content", [[1, 2], {}, {"conv1.weight": 3}])
def test_what_is_no_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="state dict"):
        weights.read_checkpoint(save(content, tmp_path))


@pytest.mark.parametrize(
    "raw", [b"", b"not a checkpoint", b"no tensors", b"hi\n", b"PK\x03\x04truncated"]
)
def test_a_file_that_is_no_checkpoint_is_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(raw)
    with pytest.raises(ExportError, match="can't be read as a checkpoint"):
        weights.read_checkpoint(path)


@given(st.binary(max_size=200))
def test_no_file_whatever_is_in_it_ends_in_anything_else(raw: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        file.write(raw)
        file.flush()
        with pytest.raises(ExportError):
            weights.read_checkpoint(Path(file.name))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no checkpoint at .*absent\.pt"):
        weights.load(RESNET20, tmp_path / "absent.pt")


def test_a_model_without_shipped_or_downloadable_weights_asks_for_a_file() -> None:
    with pytest.raises(ExportError, match="--weights FILE"):
        weights.load(models.find("resnet56_cifar10"), None)


def test_random_weights_are_the_same_each_time() -> None:
    model = models.find("resnet32_cifar10")
    assert weights.digest(weights.load(model, "none")) == weights.digest(
        weights.load(model, "none")
    )


def test_an_unreachable_download_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_port: int
) -> None:
    model = models.find("resnet18")
    url = f"http://127.0.0.1:{unused_port}/resnet18-00000000.pth"
    monkeypatch.setattr(model.pretrained.value, "url", url)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ExportError, match="can't download") as caught:
        weights.load(model, "DEFAULT")
    assert url in str(caught.value)
    assert "--weights FILE" in str(caught.value)
