"""A runtime for Seldon MLServer that serves the same TorchScript file, with adaptive batching."""

import base64
import os
from pathlib import Path

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from benchmarks.programs.in_process import Classifier


class Resnet(MLModel):  # type: ignore[misc]  # its package is in an environment of its own
    """Takes BYTES [n, 1] of base64 images: the cheapest that its JSON messages can carry."""

    async def load(self) -> bool:
        self._classifier = Classifier(Path(os.environ["BENCH_MODEL"]), os.environ["BENCH_DEVICE"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = [base64.b64decode(text) for text in payload.inputs[0].data]
        answers = [answer.decode() for answer in self._classifier.answers(values)]
        output = ResponseOutput(name="top", shape=[len(answers), 1], datatype="BYTES", data=answers)
        return InferenceResponse(model_name=self.name, outputs=[output])
