"""Triton alone by the format of the exported model: its rate, and its right answers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from benchmarks import subjects
from benchmarks.plan import Plan, Result
from benchmarks.progress import Progress
from benchmarks.repeats import FIRST_S, NO_TIME, repeat
from benchmarks.rig import IMAGES, MODEL, Rig
from benchmarks.window import Window, load
from stack.errors import StackError

FORMATS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "TorchScript": (),
        "TorchScript, fp16": ("--precision", "fp16"),
        "TorchScript, bf16": ("--precision", "bf16"),
        "pt2": ("--format", "pt2"),
        "pt2, bf16": ("--format", "pt2", "--precision", "bf16"),
        "pt2, fp16": ("--format", "pt2", "--precision", "fp16"),
    }
)
EXPORT_S = {"TorchScript": 15.0, "pt2": 90.0}
"""Seconds of an export on a machine with a GPU: 9 and 57 s were measured, including the check."""
TIMEOUT_S = 60.0


def formats(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Images/s of Triton by the format of the exported model; fp16 is for GPUs."""
    in_flight = subjects.in_flight(rig.instances)
    todo: dict[str, Callable[[], Window]] = {}
    missing, right = {}, {}

    def of(name: str, repository: Path) -> Callable[[], Window]:
        def run() -> Window:
            with rig.other_triton(repository) as other:
                right[name] = right_answers(other.triton.grpc, other.max_batch)
                load_of = subjects.triton_load(other, rig.max_batch, in_flight)
                return load(other, load_of, plan.watch, model=MODEL)

        return run

    for name, options in FORMATS.items():
        if "fp16" in options and rig.device != "cuda":
            continue
        # Float32 comes first. Another precision would need as long to fail in the same way.
        kind = name.split(",")[0]
        if kind in missing:
            missing[name] = f"not tried, since {kind} is missing"
            progress.say(f"{name}: {missing[name]}")
            continue
        # Time is kept for measuring the formats that are exported already.
        if not progress.has_time(EXPORT_S[kind] + FIRST_S * (len(todo) + 1)):
            missing[name] = NO_TIME
            progress.say(f"{name}: {NO_TIME}")
            continue
        folder = "-".join(("format", *(one.strip("-") for one in options)))
        try:
            todo[name] = of(name, rig.export(folder, *options))
        except StackError as error:
            missing[name] = str(error)
            progress.say(f"{name}: {error}")
    result = repeat(todo, plan.repeats, progress)
    return {**result, "failures": {**result["failures"], **missing}, "right": right}


def right_answers(address: str, batch: int) -> int:
    """Number of shipped images for which Triton's first class is the right one.

    Raises:
        StackError: Triton does not answer.
    """
    with np.load(IMAGES) as data:
        pixels, labels = data["images"], data["labels"]
    output = triton.InferRequestedOutput("OUTPUT__0")
    right = 0
    try:
        with triton.InferenceServerClient(address) as client:
            for start in range(0, len(pixels), batch):
                part = np.ascontiguousarray(pixels[start : start + batch])
                tensor = triton.InferInput("INPUT__0", part.shape, "UINT8")
                tensor.set_data_from_numpy(part)
                answer = client.infer(MODEL, [tensor], outputs=[output], client_timeout=TIMEOUT_S)
                best = answer.as_numpy("OUTPUT__0").argmax(axis=1)
                right += int((best == labels[start : start + batch]).sum())
    except InferenceServerException as error:
        raise StackError(f"Triton at {address}: {error}") from None
    return right
