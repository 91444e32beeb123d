import socket
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import tritonclient.grpc as grpcclient

from stack.triton import Triton
from tests.bridge.conftest import start_bridge  # noqa: F401 - a fixture here, too
from tests.conftest import ENSEMBLE


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Threads that wait for each other crawl where other programs share the cores."""
    torch.set_num_threads(1)


@pytest.fixture
def unused_port() -> int:
    """A loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def client(triton: Triton) -> Iterator[grpcclient.InferenceServerClient]:
    with grpcclient.InferenceServerClient(triton.grpc) as client:
        yield client


def infer(
    client: grpcclient.InferenceServerClient, images: list[bytes], model: str = ENSEMBLE
) -> grpcclient.InferResult:
    """What a model that takes encoded images makes of them."""
    tensor = grpcclient.InferInput("IMAGE", [len(images), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(images, dtype=object).reshape(-1, 1))
    return client.infer(model, [tensor])
