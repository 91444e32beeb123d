"""What the consumers that run torch in their own process share: decode, classify, answer."""

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.programs.common import TOP_K

NULL = "null"
"""In place of a file: answers at once, as the null model does in Triton."""


class Classifier:
    """Runs the TorchScript file that Triton serves in this process."""

    def __init__(self, model: Path | str, device: str, threads: int | None = None) -> None:
        self._device = device
        if str(model) == NULL:
            self._labels = [f"class_{i}" for i in range(10)]
            self._model: Any = lambda pixels: torch.full((len(pixels), 10), 0.1)
            return
        model = Path(model)
        if threads is not None:
            torch.set_num_threads(threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._model = torch.jit.load(model, map_location=device)  # type: ignore[no-untyped-call]  # untyped
        self._labels = (model.parent.parent / "labels.txt").read_text().split()

    def answers(self, values: Sequence[bytes]) -> list[bytes]:
        """One JSON answer for each image: raw uint8 [32, 32, 3], or anything that Pillow reads."""
        pixels = torch.from_numpy(np.stack([_pixels(value) for value in values]))
        with torch.inference_mode():
            scores, classes = self._model(pixels.to(self._device)).topk(TOP_K)
        return [
            json.dumps(
                [
                    {"label": self._labels[c], "class_id": c, "score": s}
                    for c, s in zip(of_classes, of_scores, strict=True)
                ]
            ).encode()
            for of_classes, of_scores in zip(classes.tolist(), scores.tolist(), strict=True)
        ]


def _pixels(value: bytes) -> Any:
    if len(value) == 32 * 32 * 3:
        return np.frombuffer(value, np.uint8).reshape(32, 32, 3).copy()
    with Image.open(io.BytesIO(value)) as image:
        return np.asarray(image.convert("RGB"))
