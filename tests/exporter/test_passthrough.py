"""The ensemble that takes encoded images: what is written, and that Triton serves it."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from bridge.config import Settings
from exporter.errors import ExportError
from exporter.passthrough import MAX_IMAGE_BYTES, MAX_PIXELS, ROOT, export_ensemble
from exporter.triton_config import parse
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.errors import StackError
from stack.triton import Triton
from tests.conftest import MODEL
from tests.exporter.conftest import infer

pytestmark = pytest.mark.slow


def test_the_step_decodes_with_the_bridges_own_files_and_limits(tmp_path: Path) -> None:
    export_ensemble(MODEL, tmp_path)
    step = tmp_path / f"{MODEL}_decode"
    copies = [path for package in ("imaging", "wire") for path in (step / "1" / package).iterdir()]
    assert step / "1/imaging/decode.py" in copies
    for copy in copies:
        assert copy.read_bytes() == (ROOT / copy.relative_to(step / "1")).read_bytes()
    bridge = {name: field.default for name, field in Settings.model_fields.items()}
    assert bridge["max_image_bytes"] == MAX_IMAGE_BYTES
    assert bridge["max_pixels"] == MAX_PIXELS


def test_an_image_is_resized_as_the_network_wants_it(tmp_path: Path) -> None:
    export_ensemble("resnet50", tmp_path, weights="none", max_batch_size=32, decoders=3)
    step = parse((tmp_path / "resnet50_decode/config.pbtxt").read_text())
    ensemble = parse((tmp_path / "resnet50_encoded/config.pbtxt").read_text())
    assert list(step.output[0].dims) == [224, 224, 3]
    assert step.parameters["preprocess.resize"].string_value == "256"
    assert step.instance_group[0].count == 3
    assert [one.model_name for one in ensemble.ensemble_scheduling.step] == [
        "resnet50_decode", "resnet50",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("size", "options", "wanted"),
    [
        # One process decodes a request: 20 photos are some 60 ms of work, 128 would be 400.
        (128, {}, 20),
        (16, {}, 16),
        (128, {"dali": True, "device": "cpu"}, 20),
        # A GPU decodes the whole request at once.
        (128, {"dali": True, "device": "cuda"}, 128),
    ],
)
def test_a_request_of_large_images_is_small(
    tmp_path: Path, size: int, options: dict[str, Any], wanted: int
) -> None:
    export_ensemble("resnet50", tmp_path, weights="none", max_batch_size=size, **options)
    for name in ("resnet50_decode", "resnet50_encoded"):
        assert parse((tmp_path / name / "config.pbtxt").read_text()).max_batch_size == wanted


@pytest.mark.parametrize(
    ("device", "kind"), [("cpu", "KIND_CPU"), ("cuda", "KIND_GPU"), ("auto", "KIND_AUTO")]
)
def test_only_dali_decodes_on_a_gpu(tmp_path: Path, device: str, kind: str) -> None:
    def step(*, dali: bool) -> Any:
        export_ensemble(MODEL, tmp_path, dali=dali, device=device)
        return parse((tmp_path / f"{MODEL}_decode/config.pbtxt").read_text())

    for dali, wanted in ((True, kind), (False, "KIND_CPU")):
        found = step(dali=dali)
        group = found.instance_group[0]
        assert group.Kind.Name(group.kind) == wanted
        assert ("dali" in found.parameters) is dali


@pytest.mark.skipif(bool(find_spec("nvidia") and find_spec("nvidia.dali")), reason="it has DALI")
def test_a_triton_without_dali_says_what_is_missing(tmp_path: Path) -> None:
    model_repository = tmp_path / "models"
    export_ensemble(MODEL, model_repository, dali=True, decoders=1)
    with (
        pytest.raises(StackError, match="export without --dali"),
        Triton(model_repository, tmp_path / "triton"),
    ):
        pass


def test_a_second_export_writes_nothing(tmp_path: Path) -> None:
    export_ensemble(MODEL, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    lines: list[str] = []
    export_ensemble(MODEL, tmp_path, report=lines.append)
    assert [line.partition(":")[2].split()[0] for line in lines] == ["unchanged,"] * 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_no_decoder_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="decoders is between 1 and 1024, not 0"):
        export_ensemble(MODEL, tmp_path, decoders=0)


@pytest.mark.parametrize("batch", [1, 64])
def test_triton_classifies_915_of_the_1000_encoded_images(
    client: grpcclient.InferenceServerClient, batch: int
) -> None:
    images = cifar10(Encoding.PNG)
    scores = []
    for start in range(0, len(images), batch):
        answer = infer(client, [image.value for image in images[start : start + batch]])
        assert not answer.as_numpy("ERROR").any()
        scores.append(answer.as_numpy("OUTPUT__0"))
    with np.load(ROOT / "data/cifar10_test_1000.npz") as archive:
        labels = archive["labels"]
    assert int((np.concatenate(scores).argmax(1) == labels).sum()) == 915


def test_a_bad_image_fails_alone(client: grpcclient.InferenceServerClient) -> None:
    good = cifar10(Encoding.PNG, limit=1)[0].value
    answer = infer(client, [good, b"junk", good])
    assert [row[0].partition(b": ")[0] for row in answer.as_numpy("ERROR")] == [
        b"", b"not_an_image", b"",
    ]  # fmt: skip
    best = answer.as_numpy("OUTPUT__0").argmax(1)
    assert best[0] == best[2] == 3
