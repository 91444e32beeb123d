"""What Triton itself refuses before model.py sees it, and faults of the device: with stand-ins."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cli.paths import DATA
from exporter import models
from exporter.export import PYTHON_BACKEND, export

pytestmark = pytest.mark.slow


class Tensor:
    def __init__(self, name: str, array: Any) -> None:
        self.name, self.array = name, array

    def as_numpy(self) -> Any:
        return self.array


class Response:
    def __init__(self, output_tensors: Any = (), error: object = None) -> None:
        self.output_tensors, self.error = output_tensors, error


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("repository")
    export("resnet20_cifar10", repository, backend="python")
    return repository


@pytest.fixture
def served(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An initialised `TritonPythonModel`; a request is a dict of its inputs."""
    utils = ModuleType("triton_python_backend_utils")
    utils.__dict__.update(
        Tensor=Tensor,
        InferenceResponse=Response,
        TritonError=str,
        Logger=SimpleNamespace(log_info=lambda _: None),
        get_input_tensor_by_name=lambda request, name: request.get(name),
    )
    monkeypatch.setitem(sys.modules, utils.__name__, utils)
    spec = importlib.util.spec_from_file_location("served_model", PYTHON_BACKEND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    instance = module.TritonPythonModel()
    config = {
        "input": [{"dims": ["32", "32", "3"]}],
        "output": [{"name": "OUTPUT__0"}],
        "instance_group": [{"count": 2}],
        "parameters": {"INTRA_OP_THREAD_COUNT": {"string_value": "1"}},
    }
    instance.initialize(
        {
            "model_config": json.dumps(config),
            "model_name": "resnet20_cifar10",
            "model_repository": str(repository / "resnet20_cifar10"),
            "model_version": "1",
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
        }
    )
    return instance


def request(array: Any) -> dict[str, Tensor]:
    return {"INPUT__0": Tensor("INPUT__0", array)}


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
def test_a_bad_request_is_refused_and_its_neighbours_are_answered(served: Any) -> None:
    with np.load(DATA / "cifar10_test_1000.npz") as archive:
        images = archive["images"]
    bad = [np.zeros((1, 16, 16, 3), np.uint8), np.zeros((1, 32, 32, 3), np.float32)]
    first, small, none, floats, last = served.execute(
        [request(images[:2]), request(bad[0]), {}, request(bad[1]), request(images[2:5])]
    )
    assert "not uint8 [1, 16, 16, 3]" in small.error
    assert "has no INPUT__0" in none.error
    assert "not float32" in floats.error
    scores = np.concatenate([first.output_tensors[0].array, last.output_tensors[0].array])
    names = [models.CIFAR10_LABELS[best] for best in scores.argmax(1)]
    assert names == ["cat", "ship", "ship", "airplane", "frog"]


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
def test_a_fault_of_the_device_is_answered_to_every_request(served: Any) -> None:
    def exhausted(_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    served.model = exhausted
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    responses = served.execute([request(pixels), request(pixels)])
    assert [answer.error for answer in responses] == ["inference failed: out of memory"] * 2
