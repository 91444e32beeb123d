"""Decodes and resizes images inside Triton, by the bridge's own rules.

It stands alone: the exporter puts the files of `imaging` and `wire` that it needs beside it,
unchanged, so that an image is judged and scaled alike wherever it is decoded. Everything else that
it needs to know is in `config.pbtxt`.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

# First: the local stack's copy of it says where this environment's packages are.
import triton_python_backend_utils as pb_utils  # isort: split

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Memory of an image is kept for the next one: new memory is cleared first, page by page.
os.environ.setdefault("PILLOW_BLOCKS_MAX", "4")

from imaging.decode import decode
from imaging.rules import ImageError, ImageRules, read_preprocess

if TYPE_CHECKING:
    from exporter.decoding.dali import Decoder

IMAGE, PIXELS, ERROR = "IMAGE", "PIXELS", "ERROR"


class TritonPythonModel:
    """One instance: BYTES [N, 1] of images to uint8 [N, H, W, 3], and BYTES [N, 1] of reasons.

    An image that cannot be used has black pixels and a reason "kind: message"; the others of its
    batch an empty one.
    """

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        outputs = {one["name"]: one for one in config["output"]}
        height, width, channels = (int(size) for size in outputs[PIXELS]["dims"])
        self.rules = ImageRules(
            shape=(height, width, channels),
            preprocess=read_preprocess(config["parameters"], ValueError),
            max_bytes=int(config["parameters"]["max_image_bytes"]["string_value"]),
            max_pixels=int(config["parameters"]["max_pixels"]["string_value"]),
        )
        self.max_batch = max(1, int(config["max_batch_size"]))
        self.dali = self._dali(args) if "dali" in config["parameters"] else None

    def _dali(self, args: dict[str, str]) -> "Decoder":
        try:
            # Imported where it is asked for alone: it is large, and nothing else needs it.
            from exporter.decoding.dali import Decoder  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise RuntimeError(
                f"{error}: NVIDIA DALI is to decode, and Triton's Python lacks it; install what "
                "exporter/decoding/requirements.lock lists, or export without --dali"
            ) from None
        on_gpu = args["model_instance_kind"] == "GPU"
        return Decoder(
            self.rules,
            self.max_batch,
            int(args["model_instance_device_id"]) if on_gpu else None,
            warn=pb_utils.Logger.log_warn,
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Each request by itself: what is wrong with one says nothing about another."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        tensor = pb_utils.get_input_tensor_by_name(request, IMAGE)
        try:
            pixels, errors = self._decode(tensor.as_numpy().reshape(-1).tolist())
        except MemoryError:
            error = pb_utils.TritonError("not enough memory to decode this batch")
            return pb_utils.InferenceResponse(error=error)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(PIXELS, pixels), pb_utils.Tensor(ERROR, errors)]
        )

    def _decode(
        self, images: Sequence[bytes]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.object_]]:
        assert self.rules.shape is not None
        pixels = np.zeros((len(images), *self.rules.shape), np.uint8)
        errors = np.full((len(images), 1), b"", dtype=np.object_)
        left = set(range(len(images)))
        if self.dali is not None:
            done, decoded = self.dali.decode(images)
            pixels[done] = decoded
            left.difference_update(done)
        for index in left:
            try:
                pixels[index] = decode(images[index], self.rules)
            except ImageError as error:
                errors[index] = f"{error.kind}: {error}".encode()
        return pixels, errors
