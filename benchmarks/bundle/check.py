"""Whether a machine is ready for the benchmark: its GPU, the servers, and right answers.

Writes check.json, step by step, and leaves the exported model for the benchmark. Exit code 0: the
machine is ready.
"""

import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from find_libpython import find_libpython

from benchmarks.bundle.steps import BundleError, Facts, Steps, TimeIsUpError, show
from benchmarks.formats import right_answers
from benchmarks.rig import MODEL, Rig
from benchmarks.rivals import answers
from benchmarks.rivals.entries import RIVALS
from benchmarks.rivals.table import OURS
from stack.kafka import jars
from stack.paths import STACKS

SIDE, TIMES = 8192, 20
"""Of a product of matrices, which takes a GPU a few milliseconds."""
BATCHES = (1, 32)
"""Sizes of requests besides the model's largest batch."""


class Device(StrEnum):
    cpu = "cpu"
    cuda = "cuda"


def main(
    device: Annotated[Device, typer.Option(help="Where Triton runs the model.")] = Device.cuda,
    limit: Annotated[float, typer.Option(min=30, help="Seconds for everything.")] = 200,
    output: Annotated[Path, typer.Option(help="Folder for check.json.")] = Path("results"),
) -> None:
    """Check the machine with real servers."""
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.signal(signal.SIGTERM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, limit)
    steps = Steps(output / "check.json")
    STACKS.mkdir(exist_ok=True)
    try:
        check(steps, device.value)
    except TimeIsUpError:
        show(f"the rest was not checked: {limit:.0f} s are over")
    show("CHECK FAILED: " + ", ".join(steps.failed) if steps.failed else "CHECK PASSED")
    sys.exit(1 if steps.failed else 0)


def check(steps: Steps, device: str) -> None:
    """Run all steps for a device: cpu or cuda."""
    if device == "cuda":
        steps.run("gpu", gpu)
    steps.run("libpython", lambda: {"libpython": find_libpython() or _no_libpython()})
    steps.run("java", java)
    with ExitStack() as running:
        rig = Rig(device, decoding=False)

        def servers() -> Facts:
            running.enter_context(rig)
            return {"model on": where_is(rig.triton.log_path.read_text(errors="replace"), device)}

        if steps.run("export, Kafka and Triton", servers):
            for batch in (*BATCHES, rig.max_batch):
                steps.run(f"Triton, batches of {batch}", partial(straight, rig, batch))
            steps.run("Kafka, bridge and Triton", lambda: through_kafka(rig))


def gpu() -> Facts:
    """The GPU as torch sees it, with a product of matrices."""
    import torch  # noqa: PLC0415 - takes seconds, which the other steps need not wait for

    if not torch.cuda.is_available():
        raise BundleError(f"torch {torch.__version__} (CUDA {torch.version.cuda}) sees no GPU")
    matrix = torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
    matrix @ matrix
    torch.cuda.synchronize()
    begin = time.monotonic()
    for _ in range(TIMES):
        matrix @ matrix
    torch.cuda.synchronize()
    flops = TIMES * 2 * SIDE**3 / (time.monotonic() - begin)
    return {
        "name": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "bf16 TFLOP/s": round(flops / 1e12),
        "TF32 in convolutions": torch.backends.cudnn.allow_tf32,
    }


def _no_libpython() -> str:
    raise BundleError("this Python has no shared library, which Triton's Python backend needs")


def java() -> Facts:
    """The Java that runs Kafka."""
    program = jars.java()
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stderr
    return {"java": program, "version": said.splitlines()[-1]}


def where_is(log: str, device: str) -> str:
    """The device of the model's first instance, as it says itself in Triton's log.

    Raises:
        BundleError: it says nothing, or it is another device.
    """
    found = re.search(rf"{MODEL}: on (\S+),", log)
    if found is None:
        raise BundleError(f"{MODEL} does not say in Triton's log on which device it runs")
    if not found[1].startswith(device):
        raise BundleError(f"{MODEL} runs on {found[1]}, not on {device}")
    return found[1]


def straight(rig: Rig, batch: int) -> Facts:
    """Right answers straight from Triton, for requests of this size."""
    begin = time.monotonic()
    right = right_answers(rig.triton.grpc, batch)
    return {
        **judged(right),
        "images/s, one request at a time": round(1000 / (time.monotonic() - begin)),
    }


def through_kafka(rig: Rig) -> Facts:
    """Right answers of the bridge."""
    (ours,) = (rival for rival in RIVALS if rival.name == OURS)
    return judged(answers.right_answers(rig, ours))


def judged(right: int) -> Facts:
    """How many of the 1,000 images are right.

    Raises:
        BundleError: others than torch gives, by more than TF32 explains.
    """
    if abs(right - answers.RIGHT) > answers.MAY_MOVE:
        raise BundleError(f"{right} of 1,000 are right, not {answers.RIGHT}")
    return {"right of 1,000": right}


def _time_is_up(_number: int, _frame: FrameType | None) -> None:
    raise TimeIsUpError


if __name__ == "__main__":
    typer.run(main)
