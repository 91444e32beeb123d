"""The python backend's model.py, inside a real Triton."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from cli.paths import DATA
from stack.triton import Triton

pytestmark = pytest.mark.slow

MODEL = "resnet20_cifar10"
Pixels = NDArray[np.uint8]


@pytest.fixture
def client(triton: Triton) -> Iterator[grpcclient.InferenceServerClient]:
    with grpcclient.InferenceServerClient(triton.grpc) as client:
        yield client


@pytest.fixture(scope="module")
def cifar() -> tuple[Pixels, Pixels]:
    with np.load(DATA / "cifar10_test_1000.npz") as archive:
        return archive["images"], archive["labels"]


def infer(client: grpcclient.InferenceServerClient, pixels: Pixels) -> NDArray[np.float32]:
    tensor = grpcclient.InferInput("INPUT__0", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels)
    scores: NDArray[np.float32] = client.infer(MODEL, [tensor]).as_numpy("OUTPUT__0")
    return scores


def counts(client: grpcclient.InferenceServerClient) -> tuple[int, int]:
    """Requests that Triton answered, and executions of the model that it took."""
    stats = client.get_inference_statistics(MODEL).model_stats[0]
    return stats.inference_stats.success.count, stats.execution_count


@pytest.mark.parametrize("batch", [7, 64])
def test_triton_classifies_915_of_the_1000_images(
    client: grpcclient.InferenceServerClient, cifar: tuple[Pixels, Pixels], batch: int
) -> None:
    images, labels = cifar
    starts = range(0, len(images), batch)
    scores = np.concatenate([infer(client, images[start : start + batch]) for start in starts])
    assert scores.dtype == np.float32
    assert int((scores.argmax(1) == labels).sum()) == 915


def test_requests_that_run_together_get_their_own_answers(
    client: grpcclient.InferenceServerClient, cifar: tuple[Pixels, Pixels]
) -> None:
    images, labels = cifar
    # Sizes that differ, so that answers split at the wrong place could not go unseen.
    cuts = np.cumsum([1 + number % 5 for number in range(400)])
    parts = np.split(images, cuts[cuts < len(images)])
    requests, executions = counts(client)
    with ThreadPoolExecutor(32) as pool:
        scores = list(pool.map(lambda part: infer(client, part), parts))
    assert [len(answer) for answer in scores] == [len(part) for part in parts]
    assert int((np.concatenate(scores).argmax(1) == labels).sum()) == 915
    after = counts(client)
    assert after[0] - requests == len(parts)
    assert after[1] - executions < len(parts)  # some did run together


def test_pixels_of_another_size_are_refused_and_the_model_goes_on(
    client: grpcclient.InferenceServerClient, cifar: tuple[Pixels, Pixels]
) -> None:
    with pytest.raises(InferenceServerException, match="shape"):
        infer(client, np.zeros((1, 16, 16, 3), np.uint8))
    assert infer(client, cifar[0][:1]).shape == (1, 10)


def test_labels_come_with_the_classification_extension(
    client: grpcclient.InferenceServerClient, cifar: tuple[Pixels, Pixels]
) -> None:
    images, labels = cifar
    tensor = grpcclient.InferInput("INPUT__0", [1, 32, 32, 3], "UINT8")
    tensor.set_data_from_numpy(images[:1])
    wanted = grpcclient.InferRequestedOutput("OUTPUT__0", class_count=2)
    top = client.infer(MODEL, [tensor], outputs=[wanted]).as_numpy("OUTPUT__0")
    score, index, label = top[0][0].decode().split(":")
    assert 0.5 < float(score) <= 1
    assert (int(index), label) == (int(labels[0]), "cat")
