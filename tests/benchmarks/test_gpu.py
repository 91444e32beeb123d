"""What a GPU draws is read beside a window, and a machine without one says nothing."""

import sys
import time

from benchmarks.gpu import Gpu

LINES = """
import time
print("50, 300.5, 2000", flush=True)
print("[N/A], [N/A], 2000", flush=True)
print("70, 299.5, 2002", flush=True)
time.sleep(60)
"""


def test_means_are_over_the_samples_of_a_window() -> None:
    begin = time.monotonic()
    with Gpu([sys.executable, "-c", LINES]) as gpu:
        deadline = begin + 60
        while (found := gpu.between(begin, time.monotonic())) is None or found["watts"] != 300.0:
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
    assert found == {"utilisation": 60.0, "watts": 300.0, "memory_mib": 2001.0}
    assert gpu.between(begin - 2, begin - 1) is None


def test_without_its_tool_there_are_no_samples() -> None:
    with Gpu(["no-such-tool-here"]) as gpu:
        assert gpu.between(0, time.monotonic()) is None
