"""Serves the exported model in Triton's Python backend.

It stands alone: Triton imports it from the model repository, without the project around it.
Everything that it needs to know is in `config.pbtxt`.
"""

import json
import os
from pathlib import Path
from typing import Any

# First: the local stack's copy of it says where this environment's packages are.
import triton_python_backend_utils as pb_utils  # isort: split

import torch
from torch.utils.dlpack import from_dlpack

INPUT, OUTPUT = "INPUT__0", "OUTPUT__0"


class TritonPythonModel:
    """One instance of the model: uint8 [N, H, W, 3] to float32 [N, classes]."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.size = tuple(int(side) for side in config["input"][0]["dims"])
        torch.set_num_threads(_threads(config))
        self.device = _device(config, args)
        file = _parameter(config, "MODEL_FILE") or "model.pt"
        self.model = _load(
            Path(args["model_repository"]) / args["model_version"] / file, self.device
        )
        pb_utils.Logger.log_info(
            f"{args['model_name']}: on {self.device}, {torch.get_num_threads()} threads"
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """All requests as one batch, each with its own answer or its own error."""
        responses: list[Any] = [None] * len(requests)
        batches: list[tuple[int, torch.Tensor]] = []
        for index, request in enumerate(requests):
            try:
                batches.append((index, self._pixels(request)))
            except ValueError as error:
                responses[index] = _refusal(str(error))
        if batches:
            try:
                answers = self._predict([pixels for _, pixels in batches])
            except RuntimeError as error:  # out of memory, or a fault of the device
                for index, _ in batches:
                    responses[index] = _refusal(f"inference failed: {error}")
            else:
                for (index, _), answer in zip(batches, answers, strict=True):
                    responses[index] = pb_utils.InferenceResponse([answer])
        return responses

    def _pixels(self, request: Any) -> torch.Tensor:
        tensor = pb_utils.get_input_tensor_by_name(request, INPUT)
        if tensor is None:
            raise ValueError(f"the request has no {INPUT}")
        pixels: torch.Tensor = from_dlpack(tensor.to_dlpack())
        if pixels.dtype != torch.uint8 or pixels.dim() != 4 or tuple(pixels.shape[1:]) != self.size:
            raise ValueError(
                f"{INPUT} is uint8 [N, {', '.join(map(str, self.size))}], "
                f"not {pixels.dtype} {list(pixels.shape)}"
            )
        return pixels

    def _predict(self, batches: list[torch.Tensor]) -> list[Any]:
        with torch.inference_mode():
            pixels = batches[0] if len(batches) == 1 else torch.cat(batches)
            scores = self.model(pixels.to(self.device)).cpu().numpy()
        answers, start = [], 0
        for batch in batches:
            end = start + len(batch)
            answers.append(pb_utils.Tensor(OUTPUT, scores[start:end]))
            start = end
        return answers


def _load(path: Path, device: torch.device) -> Any:
    if path.suffix == ".pt2":
        # Imported late: it takes seconds and 150 MB, which TorchScript need not pay.
        from torch._inductor import aoti_load_package  # noqa: PLC0415

        return aoti_load_package(str(path))  # made for one kind of device
    return torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]  # untyped


def _refusal(message: str) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))


def _parameter(config: dict[str, Any], name: str) -> str | None:
    value = config.get("parameters", {}).get(name, {}).get("string_value")
    return None if value is None else str(value)


def _threads(config: dict[str, Any]) -> int:
    """As asked for; else the cores that this process may use, shared among the instances."""
    asked = _parameter(config, "INTRA_OP_THREAD_COUNT")
    if asked is not None:
        return int(asked)
    instances = sum(int(group.get("count", 1)) for group in config["instance_group"])
    return max(1, len(os.sched_getaffinity(0)) // max(1, instances))


def _device(config: dict[str, Any], args: dict[str, str]) -> torch.device:
    """The GPU that Triton gave this instance.

    For this backend KIND_AUTO means KIND_CPU, so `DEVICE` tells "anything" from "the CPU".
    """
    if args["model_instance_kind"] == "GPU":
        return torch.device("cuda", int(args["model_instance_device_id"]))
    if _parameter(config, "DEVICE") == "auto" and torch.cuda.is_available():
        return torch.device("cuda", 0)
    return torch.device("cpu")
