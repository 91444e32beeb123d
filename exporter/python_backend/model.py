"""Serves the exported model in Triton's Python backend.

It stands alone: Triton imports it from the model repository, without the project around it.
Everything that it needs to know is in `config.pbtxt`.
"""

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# First: the local stack's copy of it says where this environment's packages are.
import triton_python_backend_utils as pb_utils  # isort: split

import numpy as np
import numpy.typing as npt

INPUT = "INPUT__0"

Array = npt.NDArray[Any]


class TritonPythonModel:
    """One instance of the model: uint8 [N, H, W, C] to the outputs of its configuration."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.size = tuple(int(side) for side in config["input"][0]["dims"])
        self.outputs = [one["name"] for one in config["output"]]
        path = Path(args["model_repository"]) / args["model_version"]
        path /= _parameter(config, "MODEL_FILE") or "model.pt"
        load = _load_onnx if path.suffix == ".onnx" else _load_torch
        self.model, where = load(path, config, args)
        pb_utils.Logger.log_info(f"{args['model_name']}: on {where}, {_threads(config)} threads")

    def execute(self, requests: list[Any]) -> list[Any]:
        """All requests as one batch, each with its own answer or its own error."""
        responses: list[Any] = [None] * len(requests)
        batches: list[tuple[int, Array]] = []
        for index, request in enumerate(requests):
            try:
                batches.append((index, self._pixels(request)))
            except ValueError as error:
                responses[index] = _refusal(str(error))
        if batches:
            try:
                answers = self._predict([pixels for _, pixels in batches])
            except Exception as error:  # out of memory, a fault of the device: each has its own
                for index, _ in batches:
                    responses[index] = _refusal(f"inference failed: {error}")
            else:
                for (index, _), answer in zip(batches, answers, strict=True):
                    responses[index] = pb_utils.InferenceResponse(answer)
        return responses

    def _pixels(self, request: Any) -> Array:
        tensor = pb_utils.get_input_tensor_by_name(request, INPUT)
        if tensor is None:
            raise ValueError(f"the request has no {INPUT}")
        pixels: Array = tensor.as_numpy()
        if pixels.dtype != np.uint8 or pixels.shape[1:] != self.size:
            raise ValueError(
                f"{INPUT} is uint8 [N, {', '.join(map(str, self.size))}], "
                f"not {pixels.dtype} {list(pixels.shape)}"
            )
        return pixels

    def _predict(self, batches: list[Array]) -> list[list[Any]]:
        found = self.model(batches)
        answers, start = [], 0
        for batch in batches:
            end = start + len(batch)
            answers.append(
                [
                    pb_utils.Tensor(name, np.ascontiguousarray(values[start:end]))
                    for name, values in zip(self.outputs, found, strict=True)
                ]
            )
            start = end
        return answers


Predict = Callable[[list[Array]], list[Array]]
"""Pixels of some images, in one or more arrays, to the outputs, in the order of the
configuration."""


def _joined(batches: list[Array]) -> Array:
    return batches[0] if len(batches) == 1 else np.concatenate(batches)


def _load_torch(path: Path, config: dict[str, Any], args: dict[str, str]) -> tuple[Predict, object]:
    # Imported late, as all here: a server of ONNX does without torch, which is large.
    import torch  # noqa: PLC0415

    torch.set_num_threads(_threads(config))
    number = _gpu(config, args, torch.cuda.is_available)
    device = torch.device("cpu") if number is None else torch.device("cuda", number)
    if path.suffix == ".pt2":
        from torch._inductor import aoti_load_package  # noqa: PLC0415

        model: Any = aoti_load_package(str(path))  # made for one kind of device
    else:
        if len(config["output"]) > 1:
            import torchvision  # noqa: F401, PLC0415 - brings the operators of its detectors

            # That they give their losses too: not here.
            warnings.filterwarnings("ignore", r"\w+ always returns a")
        model = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]  # untyped

    # Memory that a GPU reads by itself. From any other, the driver copies piece by piece first,
    # and the program waits.
    kept = torch.empty(0, dtype=torch.uint8)

    def gather(batches: list[Array]) -> Any:
        nonlocal kept
        if number is None:
            return torch.from_numpy(_joined(batches))
        size = sum(one.size for one in batches)
        if size > len(kept):
            kept = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        pixels = kept[:size].view(-1, *batches[0].shape[1:])
        np.concatenate(batches, out=pixels.numpy())
        return pixels

    def predict(batches: list[Array]) -> list[Array]:
        with torch.inference_mode():
            # The answers' way back waits for the GPU, so that `kept` is free after it.
            found = model(gather(batches).to(device, non_blocking=True))
        return [one.cpu().numpy() for one in (found if isinstance(found, tuple) else (found,))]

    return predict, device


def _load_onnx(path: Path, config: dict[str, Any], args: dict[str, str]) -> tuple[Predict, object]:
    import onnxruntime  # noqa: PLC0415

    known = onnxruntime.get_available_providers()
    gpu = _gpu(config, args, lambda: "CUDAExecutionProvider" in known)
    providers: list[Any] = ["CPUExecutionProvider"]
    if gpu is not None:
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": gpu}))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads(config)
    session = onnxruntime.InferenceSession(path, options, providers=providers)

    def predict(batches: list[Array]) -> list[Array]:
        found: list[Array] = session.run(None, {INPUT: _joined(batches)})
        return found

    return predict, session.get_providers()[0]


def _refusal(message: str) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))


def _parameter(config: dict[str, Any], name: str) -> str | None:
    value = config.get("parameters", {}).get(name, {}).get("string_value")
    return None if value is None else str(value)


def _threads(config: dict[str, Any]) -> int:
    """The CPU threads of an instance: as asked for, or an equal share of the usable cores."""
    asked = _parameter(config, "INTRA_OP_THREAD_COUNT")
    if asked is not None:
        return int(asked)
    instances = sum(int(group.get("count", 1)) for group in config["instance_group"])
    return max(1, len(os.sched_getaffinity(0)) // max(1, instances))


def _gpu(config: dict[str, Any], args: dict[str, str], available: Callable[[], bool]) -> int | None:
    """Number of the GPU that this instance uses; None: the CPU.

    For this backend KIND_AUTO means KIND_CPU, so `DEVICE` tells "anything" from "the CPU".
    """
    if args["model_instance_kind"] == "GPU":
        return int(args["model_instance_device_id"])
    return 0 if _parameter(config, "DEVICE") == "auto" and available() else None
