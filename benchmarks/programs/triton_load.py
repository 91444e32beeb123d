"""Load straight at Triton's gRPC: batches of real pixels, so many in flight, until SIGTERM."""

import argparse
import time
from pathlib import Path
from threading import Semaphore
from typing import Any

import numpy as np
import tritonclient.grpc as triton

from benchmarks.programs.common import TOP_K, stop_on_signal

DRAIN_S = 20.0
"""How long requests in flight are waited for at the end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triton", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True, help="an .npz with `images`")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True, help="requests")
    options = parser.parse_args()

    stop = stop_on_signal()
    with np.load(options.images) as data:
        pixels = data["images"]
    # Made once: a load generator that is cheaper than any real client finds the highest ceiling.
    requests = []
    for start in range(0, len(pixels) - options.batch + 1, options.batch):
        batch = np.ascontiguousarray(pixels[start : start + options.batch])
        tensor = triton.InferInput("INPUT__0", batch.shape, "UINT8")
        tensor.set_data_from_numpy(batch)
        requests.append(tensor)
    output = triton.InferRequestedOutput("OUTPUT__0", class_count=TOP_K)
    slots = Semaphore(options.in_flight)
    failures: list[str] = []

    def answered(result: Any, error: Exception | None) -> None:  # noqa: ARG001 - passed by name
        if error is not None:
            failures.append(str(error))
            stop.set()
        slots.release()

    with triton.InferenceServerClient(options.triton) as client:
        turn = 0
        while not stop.is_set():
            if slots.acquire(timeout=0.2):
                tensor = requests[turn % len(requests)]
                client.async_infer(options.model, [tensor], answered, outputs=[output])
                turn += 1
        deadline = time.monotonic() + DRAIN_S
        for _ in range(options.in_flight):
            slots.acquire(timeout=max(0.0, deadline - time.monotonic()))
    if failures:
        raise SystemExit(f"Triton: {failures[0]}")


if __name__ == "__main__":
    main()
