"""A network of the user's is exported as built-in ones are, or what is wrong with it is said."""

from pathlib import Path
from typing import Any

import pytest
import torch

from exporter import weights
from exporter.errors import ExportError
from exporter.export import export
from exporter.formats import AotInductor, TorchScript, quiet
from exporter.own import own_model
from exporter.triton_config import parse

pytestmark = pytest.mark.slow

NETWORK = """
import torch
from torch import Tensor, nn
import neighbour

class Mean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(3, neighbour.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x.mean(dim=(2, 3)))

def build() -> nn.Module:
    network = Mean()
    with torch.no_grad():
        network.score.weight.copy_(10 * torch.eye(3))
    return network

def softmax() -> nn.Module:
    return nn.Sequential(build(), nn.Softmax(dim=1))

def fixed() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))

def broken() -> nn.Module:
    raise RuntimeError("no weights today")

ready = build()
other = 42
not_a_network = dict
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "torch.py").write_text(NETWORK)  # a name that must not hide the real one
    (tmp_path / "neighbour.py").write_text("CLASSES = 3\n")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n\n")
    return tmp_path


def own(folder: Path, what: str = "torch.py:build", **options: Any) -> Any:
    settings = {"labels": folder / "labels.txt", "size": "4x6", **options}
    return own_model("mine", str(folder / what), **settings)


@pytest.mark.parametrize("what", ["torch.py:build", "torch.py:Mean", "torch.py:ready"])
def test_a_file_gives_a_network_by_function_class_or_name(folder: Path, what: str) -> None:
    done = export(own(folder, what), folder / "models")
    assert done.verdict is not None
    assert done.verdict.changed == 0
    assert done.verdict.correct is None
    assert (done.directory / "labels.txt").read_text() == "red\ngreen\nblue\n"
    config = parse((done.directory / "config.pbtxt").read_text())
    assert list(config.input[0].dims) == [4, 6, 3]
    assert list(config.output[0].dims) == [3]
    assert config.parameters["preprocess.resize"].string_value == "4"


def test_pixels_are_scaled_and_normalised_as_is_asked(folder: Path) -> None:
    model = own(folder, mean="0.5,0.5,0.5", std="0.25,0.25,0.25", resize=9, interpolation="bicubic")
    done = export(model, folder / "models")
    pixels = torch.full((1, 4, 6, 3), 51, dtype=torch.uint8)
    pixels[..., 1] = 255
    given = TorchScript().load(done.directory / "1" / "model.pt")(pixels)
    raw = torch.tensor([[(0.2 - 0.5) / 0.25, (1 - 0.5) / 0.25, (0.2 - 0.5) / 0.25]])
    bias = weights.load(model, None).state_dict()["score.bias"]
    assert torch.allclose(given, torch.softmax(10 * raw + bias, dim=1), atol=1e-5)
    config = parse((done.directory / "config.pbtxt").read_text())
    assert config.parameters["preprocess.resize"].string_value == "9"
    assert config.parameters["preprocess.interpolation"].string_value == "bicubic"


def test_a_network_with_a_softmax_gets_no_second_one(folder: Path) -> None:
    once = export(own(folder, "torch.py:softmax", probabilities=True), folder / "once")
    plain = export(own(folder), folder / "plain")
    pixels = torch.randint(0, 256, (5, 4, 6, 3), dtype=torch.uint8)
    load = TorchScript().load
    ours, theirs = (load(one.directory / "1" / "model.pt")(pixels) for one in (once, plain))
    # The bias is random, from one seed for both.
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_torchscript_file_is_a_network_too(folder: Path, frozen: bool) -> None:
    network = weights.load(own(folder), None)
    with quiet():
        scripted = torch.jit.script(network)
        scripted = torch.jit.freeze(scripted) if frozen else scripted
        torch.jit.save(scripted, folder / "mine.pt")
    done = export(own(folder, "mine.pt"), folder / "models")
    assert done.verdict is not None
    assert done.verdict.changed == 0
    if not frozen:
        with pytest.raises(ExportError, match="can't take the network"):
            export(own(folder, "mine.pt"), folder / "pt2", model_format=AotInductor())


def test_it_is_exported_again_when_its_source_has_changed_and_only_then(folder: Path) -> None:
    export(own(folder, "torch.py:ready"), folder / "models")
    again = export(own(folder, "torch.py:ready"), folder / "models")
    assert not again.changed
    (folder / "torch.py").write_text(NETWORK.replace("10 *", "20 *"))
    assert export(own(folder, "torch.py:ready"), folder / "models").changed
    assert export(own(folder, "torch.py:ready", mean="0.1,0,0"), folder / "models").changed


@pytest.mark.parametrize(
    ("what", "options", "complaint"),
    [
        ("absent.py:build", {}, "no network at .*absent.py"),
        ("torch.py", {}, "has to say what in that file builds the network"),
        ("torch.py:nowhere", {}, "AttributeError: .*nowhere"),
        ("torch.py:broken", {}, "RuntimeError: no weights today"),
        ("torch.py:other", {}, "TypeError"),
        ("torch.py:not_a_network", {}, "gives a dict, not a torch.nn.Module"),
        ("labels.txt", {}, "is not a TorchScript file"),
        ("torch.py:build", {"size": "224"}, "--size is HEIGHTxWIDTH"),
        ("torch.py:build", {"size": "0x8"}, "--size is HEIGHTxWIDTH"),
        ("torch.py:build", {"mean": "half"}, "--mean is three numbers"),
        ("torch.py:build", {"mean": "0.5,0.5"}, "--mean is three numbers"),
        ("torch.py:build", {"std": "1,0,1"}, "--std divides"),
        ("torch.py:fixed", {"size": "9x9"}, "the network fails on images of 9x9"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    folder: Path, what: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ExportError, match=complaint):
        export(own(folder, what, **options), folder / "models")
    assert not (folder / "models").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("red\ngreen\n", r"gives \[2, 3\], and there are 2 labels"),
        ("red\n\nblue\n", "no empty line"),
        ("", "a class name on each line"),
    ],
)
def test_labels_that_do_not_fit_are_refused(folder: Path, text: str, complaint: str) -> None:
    (folder / "labels.txt").write_text(text)
    with pytest.raises(ExportError, match=complaint):
        export(own(folder), folder / "models")


def test_a_name_that_is_no_folders_is_refused(folder: Path) -> None:
    with pytest.raises(ExportError, match="letters, digits"):
        own_model("../mine", "x", folder / "labels.txt", "4x4")
