"""A batch of images through Triton's gRPC, answered as the others answer."""

import json
from collections.abc import Sequence

import numpy as np
import tritonclient.grpc as triton

from benchmarks.programs.common import TOP_K

INPUT, OUTPUT = "INPUT__0", "OUTPUT__0"


class TritonClassifier:
    """Classifies with Triton's own Python client, one request at a time."""

    def __init__(self, address: str, model: str) -> None:
        self._client = triton.InferenceServerClient(address)
        self._model = model
        self._output = triton.InferRequestedOutput(OUTPUT, class_count=TOP_K)

    def answers(self, values: Sequence[bytes]) -> list[bytes]:
        """One JSON answer for each raw uint8 [32, 32, 3]."""
        pixels = np.frombuffer(b"".join(values), np.uint8).reshape(-1, 32, 32, 3)
        tensor = triton.InferInput(INPUT, pixels.shape, "UINT8")
        tensor.set_data_from_numpy(pixels)
        answer = self._client.infer(self._model, [tensor], outputs=[self._output])
        return [
            json.dumps([_scored(one) for one in top]).encode() for top in answer.as_numpy(OUTPUT)
        ]


def _scored(text: bytes) -> dict[str, object]:
    score, number, label = text.decode().split(":", 2)
    return {"label": label, "class_id": int(number), "score": float(score)}
