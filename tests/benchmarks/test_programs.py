"""The programs that make load straight at Triton go on for as long as they are asked to."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.subjects import PROGRAMS
from consumer.triton import read_counters
from producer.sources import CIFAR10_FILE
from stack.triton import Triton
from tests.conftest import MODEL

IN_FLIGHT, BATCH = 2, 8


def inferences(triton: Triton) -> int:
    return read_counters(triton.grpc)[MODEL, "1"].inferences


def command(program: str, triton: Triton) -> list[str]:
    return [
        sys.executable, str(PROGRAMS / program), "--triton", triton.grpc, "--model", MODEL,
        "--images", str(CIFAR10_FILE),
    ]  # fmt: skip


def test_load_follows_its_answers_until_it_is_stopped(triton: Triton) -> None:
    enough = inferences(triton) + 10 * IN_FLIGHT * BATCH
    options = ["--batch", str(BATCH), "--in-flight", str(IN_FLIGHT)]
    with subprocess.Popen([*command("triton_load.py", triton), *options]) as load:
        deadline = time.monotonic() + 120
        while inferences(triton) < enough and load.poll() is None:
            assert time.monotonic() < deadline, "the load stood still"
            time.sleep(0.1)
        load.send_signal(signal.SIGTERM)
        assert load.wait(60) == 0


def test_the_probe_hears_of_every_image(triton: Triton, tmp_path: Path) -> None:
    output = tmp_path / "latencies.json"
    options = ["--rate", "5", "--seconds", "4", "--warm", "3", "--output", str(output)]
    subprocess.run([*command("probe.py", triton), *options], check=True)
    found = json.loads(output.read_text())
    assert found["sent"] == found["answered"] == len(found["latencies_ms"]) == 20
    assert min(found["latencies_ms"]) > 0
    assert len(found["lateness_ms"]) == 20
    assert min(found["lateness_ms"]) >= 0
