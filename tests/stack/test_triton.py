"""The server is a real one: it serves, comes back after a crash, and says why a model fails."""

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from stack.errors import StackError
from stack.paths import ROOT
from stack.triton import SHARED_MEMORY, Triton
from tests.conftest import MODEL
from tests.stack.conftest import write_model

pytestmark = pytest.mark.slow


def echo(server: Triton, values: list[int]) -> list[int]:
    pixels = grpcclient.InferInput("INPUT", [1, 4], "UINT8")
    pixels.set_data_from_numpy(np.array([values], np.uint8))
    with grpcclient.InferenceServerClient(server.grpc) as client:
        answer = client.infer("identity", [pixels]).as_numpy("OUTPUT")
    return [int(value) for value in answer[0]]


def test_it_serves_and_comes_back_after_a_crash_on_the_same_ports(
    identity_repository: Path, tmp_path: Path
) -> None:
    with Triton(identity_repository, tmp_path / "triton") as server:
        before = (server.grpc, server.http, server.metrics)
        assert echo(server, [1, 2, 3, 4]) == [1, 2, 3, 4]
        server.kill()
        assert not server.running
        server.start()
        assert (server.grpc, server.http, server.metrics) == before
        assert echo(server, [5, 6, 7, 8]) == [5, 6, 7, 8]


def test_it_serves_from_a_folder_with_white_space_in_its_path(
    identity_repository: Path, tmp_path: Path
) -> None:
    models = tmp_path / "my models"
    models.symlink_to(identity_repository)
    # Its model is one of the Python backend, whose processes Triton starts through a shell.
    with Triton(models, tmp_path / "a b") as server:
        assert echo(server, [1, 2, 3, 4]) == [1, 2, 3, 4]
        links = server._links
        assert links is not None
        assert links.is_dir()
    assert not links.exists()


def test_a_crash_leaves_nothing_in_shared_memory(identity_repository: Path, tmp_path: Path) -> None:
    server = Triton(identity_repository, tmp_path / "triton")
    server.start()
    regions = f"{server._shared_memory_prefix}*"
    assert list(SHARED_MEMORY.glob(regions))
    server.kill()
    assert not list(SHARED_MEMORY.glob(regions))


def test_a_model_that_does_not_load_fails_the_start_with_its_traceback(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "import nowhere_to_be_found\n")
    with pytest.raises(StackError, match=r"nowhere_to_be_found[\s\S]*model\.py\(1\)"):
        Triton(tmp_path / "models", tmp_path / "triton").start()


def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"not a folder: .*/nowhere"):
        Triton(tmp_path / "nowhere", tmp_path / "triton").start()


def test_given_arguments_replace_the_defaults(identity_repository: Path, tmp_path: Path) -> None:
    arguments = ["--model-control-mode=explicit"]
    with (
        Triton(identity_repository, tmp_path / "triton", arguments=arguments) as server,
        grpcclient.InferenceServerClient(server.grpc) as client,
    ):
        assert not client.is_model_ready("identity")
        client.load_model("identity")
        assert echo(server, [1, 2, 3, 4]) == [1, 2, 3, 4]


def test_it_classifies_real_images(triton: Triton) -> None:
    """The first images of the shipped CIFAR-10; one in ten may be wrong, as the weights are."""
    with np.load(ROOT / "data" / "cifar10_test_1000.npz") as data:
        images, labels = data["images"][:64], data["labels"][:64]
    pixels = grpcclient.InferInput("INPUT__0", list(images.shape), "UINT8")
    pixels.set_data_from_numpy(images)
    wanted = grpcclient.InferRequestedOutput("OUTPUT__0", class_count=1)
    with grpcclient.InferenceServerClient(triton.grpc) as client:
        answer = client.infer(MODEL, [pixels], outputs=[wanted]).as_numpy("OUTPUT__0")
    found = np.array([int(best[0].split(b":")[1]) for best in answer])
    assert (found == labels).mean() > 0.8
