"""The formats of a model, side by side: what cannot be exported costs its time only once."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from benchmarks.formats import formats
from benchmarks.plan import QUICK_CUDA, Result
from benchmarks.progress import Progress
from benchmarks.rig import Rig
from stack.errors import StackError


def test_a_format_that_fails_in_float32_is_not_tried_in_other_precisions() -> None:
    tried: list[str] = []

    def export(folder: str, *_options: str) -> Path:
        tried.append(folder)
        raise StackError(f"{folder} crashed")

    rig = cast(Rig, SimpleNamespace(device="cuda", instances=2, export=export))
    kept: list[Result] = []
    found = formats(rig, QUICK_CUDA, Progress(lambda _text: None, kept.append))
    assert tried == ["format", "format-format-pt2"]
    assert found["failures"] == {
        "TorchScript": "format crashed",
        "TorchScript, fp16": "not tried, since TorchScript is missing",
        "TorchScript, bf16": "not tried, since TorchScript is missing",
        "pt2": "format-format-pt2 crashed",
        "pt2, bf16": "not tried, since pt2 is missing",
        "pt2, fp16": "not tried, since pt2 is missing",
    }
