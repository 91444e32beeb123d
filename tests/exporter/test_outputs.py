"""What a network of the user's gives: used as it is, or refused with what it has to be."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from exporter.errors import ExportError
from exporter.export import export
from exporter.formats import TorchScript, find_format
from exporter.onnx_format import Onnx
from exporter.own import own_model
from exporter.triton_config import parse
from tests.exporter import networks

pytestmark = pytest.mark.slow


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return networks.write(tmp_path)


def exported(mine: Path, what: str, form: str = "torchscript", **options: Any) -> Path:
    model = own_model("mine", f"{mine}:{what}", **{"size": "16x24", **options})
    return export(
        model, mine.parent / "models", backend="python", model_format=find_format(form, "cpu")
    ).directory


def pixels(height: int, width: int, channels: int = 3, count: int = 3) -> Tensor:
    numbers = torch.Generator().manual_seed(0)
    return torch.randint(
        0, 256, (count, height, width, channels), dtype=torch.uint8, generator=numbers
    )


def test_without_labels_there_is_no_file_of_them(mine: Path) -> None:
    folder = exported(mine, "vit", size="32x32")
    config = parse((folder / "config.pbtxt").read_text())
    assert list(config.output[0].dims) == [7]
    assert not config.output[0].label_filename
    assert not (folder / "labels.txt").exists()


@pytest.mark.parametrize("form", ["torchscript", "onnx"])
def test_an_embedder_gets_no_softmax_and_no_labels(mine: Path, form: str) -> None:
    folder = exported(mine, "Vector", form, task="embed")
    images = pixels(16, 24)
    load = TorchScript().load if form == "torchscript" else Onnx().load
    found = load(folder / "1" / find_format(form, "cpu").filename)(images)
    floats = images.permute(0, 3, 1, 2) / 255
    wanted = torch.cat((floats.mean((2, 3)), floats.std((2, 3))), dim=1)
    assert torch.allclose(found, wanted, atol=1e-5)
    config = parse((folder / "config.pbtxt").read_text())
    assert config.parameters["postprocess.task"].string_value == "embed"
    assert list(config.output[0].dims) == [6]
    assert not (folder / "labels.txt").exists()


def test_one_channel_is_grey(mine: Path) -> None:
    folder = exported(mine, "grey", size="28x28", channels=1)
    config = parse((folder / "config.pbtxt").read_text())
    assert list(config.input[0].dims) == [28, 28, 1]
    assert config.parameters["preprocess.color"].string_value == "L"
    assert TorchScript().load(folder / "1/model.pt")(pixels(28, 28, 1)).shape == (3, 5)


def test_a_detector_of_ones_own_gives_three_tensors(mine: Path) -> None:
    labels = mine.parent / "labels.txt"
    labels.write_text("bright, not dark\n")
    folder = exported(mine, "Boxes", task="detect", labels=labels)
    images = torch.zeros((2, 16, 24, 3), dtype=torch.uint8)
    images[0, 4:8, 10:20] = 255
    boxes, classes, scores = TorchScript().load(folder / "1/model.pt")(images)
    assert boxes[0].tolist() == [[10, 4, 20, 8]]
    assert classes.tolist() == [[0], [0]]
    assert scores.tolist() == [[1], [0]]
    config = parse((folder / "config.pbtxt").read_text())
    told = {key: one.string_value for key, one in config.parameters.items()}
    assert [one.name for one in config.output] == told["postprocess.outputs"].split(",")
    assert told["postprocess.layout"] == "torchvision"
    assert told["preprocess.fit"] == "letterbox"
    assert config.max_batch_size == 8


@pytest.mark.parametrize(
    ("what", "options", "complaint"),
    [
        (
            "WithAuxiliary",
            {"size": "32x32"},
            r"gives a dict of 'logits', 'aux'; .* has to give one",
        ),
        ("Listed", {"size": "32x32"}, r"gives a list of 2: \[2, 7\], \[\]; .*A network with other"),
        ("Map", {}, r"gives \[2, 3, 16, 24\]; for the task classify it has to give one tensor"),
        ("vit", {"size": "32x32", "task": "detect"}, r"gives \[2, 7\]; .* three tensors: boxes"),
        ("vit", {"size": "40x40"}, "the network fails on images of 40x40 with 3 channels: "),
        ("grey", {"size": "28x28"}, "fails on images of 28x28 with 3 channels: "),
        ("VisionTransformer", {}, "gets no arguments: give a function"),
    ],
)
def test_what_does_not_fit_its_task_is_refused_with_the_recipe(
    mine: Path, what: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ExportError, match=complaint):
        exported(mine, what, **options)
    assert not (mine.parent / "models").exists()


def test_a_network_can_come_from_a_module(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    model = own_model("mine", "mine:vit", size="32x32")
    assert model.build().training
    with pytest.raises(ExportError, match=r"--network elsewhere\.nets:build: ModuleNotFoundError"):
        own_model("mine", "elsewhere.nets:build", size="32x32")
    with pytest.raises(ExportError, match=r"MODULE:NAME, or a TorchScript file"):
        own_model("mine", "no where:build", size="32x32")


@pytest.mark.parametrize(
    ("form", "options", "complaint"),
    [
        ("onnx", {"backend": "pytorch"}, r"pytorch backend does not read model\.onnx"),
        ("torchscript", {"backend": "onnxruntime"}, r"onnxruntime backend does not read model\.pt"),
        ("onnx", {"precision": "bf16"}, "choose fp32 or fp16"),
    ],
)
def test_what_cannot_go_together_is_refused(
    tmp_path: Path, form: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ExportError, match=complaint):
        export("resnet20_cifar10", tmp_path, model_format=find_format(form, "cpu"), **options)


def test_for_a_gpu_onnx_is_compiled_by_tensorrt(tmp_path: Path) -> None:
    done = export(
        "resnet20_cifar10", tmp_path, device="cuda", precision="fp16", max_batch_size=16,
        model_format=Onnx(),
    )  # fmt: skip
    assert done.verdict is not None
    assert done.verdict.correct is not None
    assert done.verdict.correct >= 913
    config = parse((done.directory / "config.pbtxt").read_text())
    assert (config.backend, config.platform) == ("onnxruntime", "onnxruntime_onnx")
    (tensorrt,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert tensorrt.name == "tensorrt"
    assert dict(tensorrt.parameters) == {
        "precision_mode": "FP16",
        "trt_profile_min_shapes": "INPUT__0:1x32x32x3",
        "trt_profile_opt_shapes": "INPUT__0:16x32x32x3",
        "trt_profile_max_shapes": "INPUT__0:16x32x32x3",
    }
