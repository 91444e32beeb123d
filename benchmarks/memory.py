"""A bridge's memory over hours, while single images come."""

import time

from benchmarks import subjects
from benchmarks.latency import through_kafka
from benchmarks.plan import Plan, Result
from benchmarks.procfs import tree_usage
from benchmarks.progress import Progress
from benchmarks.repeats import NO_TIME
from benchmarks.rig import Rig
from benchmarks.window import require_alive, running, wait_until

RATE = 100.0
"""Images/s: few enough for any machine."""
WARM_S = 120.0
"""Seconds before the first sample: by then the caches and pools have their size."""
SAMPLES = 24
SPARE_S = 120.0
"""Seconds that the load lasts longer than the measurement and the warm-up."""


def memory(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Resident memory of the bridge with its decoders: `SAMPLES` samples, and the images that were
    answered by then."""
    samples: list[dict[str, float]] = []
    failures: dict[str, str] = {}

    def result() -> Result:
        return {
            "samples": samples, "failures": failures,
            "settings": {"images/s": f"{RATE:.0f}", "hours": f"{plan.memory_s / 3600:.2g}"},
        }  # fmt: skip

    if not progress.has_time(WARM_S + plan.memory_s):
        failures["memory"] = NO_TIME
        return result()
    source, target = rig.topic("in"), rig.topic("out")
    load = through_kafka(rig, source, target, RATE, WARM_S + plan.memory_s + SPARE_S)
    bridges = subjects.bridges(rig, source, target)
    with running(rig, [*bridges, load]):
        wait_until(rig, lambda: rig.ends(target) > 0, [*bridges, load], "an answer")
        time.sleep(WARM_S)
        began = time.monotonic()
        for number in range(SAMPLES):
            time.sleep(max(0.0, began + number * plan.memory_s / (SAMPLES - 1) - time.monotonic()))
            require_alive(rig, [*bridges, load])
            samples.append(
                {
                    "after_s": time.monotonic() - began,
                    "answered": rig.ends(target),
                    "rss_bytes": tree_usage([part.pid for part in bridges]).rss_bytes,
                }
            )
            progress.keep(result())
    last = samples[-1]
    progress.say(f"{last['rss_bytes'] / 2**20:.0f} MiB after {last['answered']:,} images")
    return result()
